/** The longest row of a run, forward and backward, before its first step: a run that has no room fails now, not overnight. */
import { AppError } from '../../shared/errors.ts'
import type { Emit } from '../../shared/event.ts'
import { pack } from '../engine/batch.ts'
import type { Trainer } from '../engine/trainer.ts'

/**
 * Runs one row of `tokens`, of which one head chunk is predicted: what a step takes is taken and written to, but for the masks
 * and shared prompts of a row of several sequences, which the plan alone knows. Parameters, their state and every random
 * stream are as before, gradients are zero. Throws AppError('memory') with what to change.
 */
export function rehearse(trainer: Trainer, tokens: Int32Array, emit: Emit): void {
  emit({ kind: 'phase', name: 'rehearsing the longest batch' })
  const started = performance.now()
  const from = Math.max(1, tokens.length - trainer.settings.headRows)
  const [row] = pack([{ tokens, mask: new Uint8Array(tokens.length).fill(1, from) }], tokens.length)
  try {
    trainer.accumulate(row!, ({ logprobs }) => ({
      logprob: new Float32Array(logprobs.length),
      entropy: new Float32Array(logprobs.length)
    }))
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'memory') throw error
    throw new AppError(
      'memory',
      `the longest batch, ${tokens.length} tokens, does not fit beside what is held: ${error.message}`,
      'Lower max_length or max_completion_length, set memory_limit_mib below what is free so that the plan chooses smaller settings, or close other programs.',
      { cause: error }
    )
  } finally {
    trainer.parameters.zeroGradients()
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  emit({ kind: 'log', level: 'info', text: `the longest batch, ${tokens.length} tokens, fits: ${seconds} s` })
}

/** These tokens over and over. */
export const repeated = (tokens: ArrayLike<number>, length: number): Int32Array =>
  Int32Array.from({ length }, (_, i) => tokens[i % tokens.length]!)
