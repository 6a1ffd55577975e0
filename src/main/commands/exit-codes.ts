/** What each exit code means, in the words of `--help`. */
import { EXIT_CODES } from '../../shared/errors.ts'
import type { ErrorCode } from '../../shared/errors.ts'

const MEANINGS: { readonly [C in ErrorCode]: string } = {
  usage: 'the command line itself is off',
  recipe: 'a recipe: unknown key, impossible value, missing file',
  data: 'a dataset: malformed, empty',
  model: 'a model: truncated, foreign, unsupported',
  memory: 'the plan does not fit into memory',
  disk: 'a file could not be read or written',
  device: 'a device is missing, disagrees or failed',
  training: 'the training went wrong, e.g. three non-finite steps in a row',
  export: 'what was written does not equal what was trained',
  internal: 'a bug, or the worker process crashed',
  cancelled: 'stopped by you'
}

const ROWS: readonly (readonly [number, string])[] = [
  [0, 'done'],
  ...Object.entries(EXIT_CODES).map(([code, exit]) => [exit, MEANINGS[code as ErrorCode]] as const)
]

export const EXIT_CODE_TABLE = `Exit codes:\n${ROWS.map(([exit, what]) => `  ${String(exit).padStart(3)}  ${what}`).join('\n')}`
