/** What can go wrong, named once: the boundary it crossed, and the exit code the command line answers with. */
export const EXIT_CODES = {
  usage: 2, // the command line itself is off
  recipe: 3, // a recipe file: unknown key, impossible value
  data: 4, // a dataset: bad JSON at line N, empty, malformed trace
  model: 5, // a GGUF: truncated, foreign, unsupported, a tensor missing
  memory: 6, // the plan does not fit
  disk: 7, // a file could not be read or written
  device: 8, // a backend is missing, disagrees or failed
  training: 9, // three non-finite steps in a row and the like
  export: 10, // what was written does not equal what was trained
  internal: 70, // a bug of ours
  cancelled: 130 // the user stopped it
} as const

export type ErrorCode = keyof typeof EXIT_CODES

/**
 * An error a person can act on: `message` says what was wrong and where, `hint` what to do.
 * Everything else that is thrown is a bug and is shown with its stack.
 */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  constructor(code: ErrorCode, message: string, hint?: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.hint = hint
  }
}

/** For exhaustive switches over unions. */
export function never(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`)
}
