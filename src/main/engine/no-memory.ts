/** The device refused memory: what a person reads then. */
import { AppError } from '../../shared/errors.ts'
import type { Backend } from './backend.ts'

export const noMemory = ({ name }: Pick<Backend, 'name'>, what: string): AppError =>
  new AppError(
    'memory',
    `${name} has no memory left for ${what}`,
    'Lower max_length, max_completion_length or rollout_width, set memory_limit_mib below what is free, or close other programs.'
  )
