/** A device that is full: what the plan left room for was taken by another program, or the plan was too low. */
import { AppError } from '../../shared/errors.ts'
import type { Backend } from './backend.ts'

const LESS =
  'lower max_length, max_completion_length or rollout_width, set memory_limit_mib below what is free, or close other programs'

export const noMemory = ({ name, isCpu }: Pick<Backend, 'name' | 'isCpu'>, what: string): AppError =>
  new AppError(
    'memory',
    `${name} has no memory left for ${what}`,
    isCpu ? `L${LESS.slice(1)}.` : `L${LESS.slice(1)}, or set device: cpu.`
  )
