/**
 * The few globals that Node and browsers both have and `src/shared` may name: it compiles with the types of neither.
 * Only tsconfig.shared.json sees this file.
 */
interface AbortSignal {
  readonly aborted: boolean
}
