/** Rotary embedding settings, passed to `rope_ext` as they are (`ggml.h`). */
export type Rope = {
  readonly dimensions: number
  readonly mode: number
  readonly contextLength: number
  readonly base: number
  readonly scale: number
  readonly extFactor: number
  readonly attnFactor: number
  readonly betaFast: number
  readonly betaSlow: number
}
