/** How well a model foretells a text: the check that a change to its file broke nothing. */
import koffi from 'koffi'
import { AppError } from '../../shared/errors.ts'
import { Decoder } from './decoder.ts'
import type { Model } from './model.ts'

export type Perplexity = {
  /** exp of the mean negative log-probability of the predicted tokens. */
  readonly perplexity: number
  /** Predicted tokens. */
  readonly tokens: number
}

/** The text is read in windows of at most so many tokens, each from an empty cache: short enough for any base. */
const WINDOW = 512
/** Tokens whose logits are held at once. */
const BATCH = 64

/** Throws AppError('data') for a text of less than two tokens, AppError('cancelled') when stopped. */
export async function perplexityOf(model: Model, text: string, signal?: AbortSignal): Promise<Perplexity> {
  const { vocabulary, config } = model
  const tokens = vocabulary.tokenize(text)
  if (tokens.length < 2)
    throw new AppError('data', `the text for the perplexity has ${tokens.length} tokens`, 'Give a longer one.')
  const window = Math.min(WINDOW, config.contextLength)
  const head = vocabulary.addBos ? [vocabulary.bos] : []
  const decoder = new Decoder(model, { width: 1, contextTokens: Math.max(256, window), logitRows: BATCH })
  let sum = 0
  let predicted = 0
  try {
    for (let from = 0; from < tokens.length - 1; from += window - head.length) {
      const part = [...head, ...tokens.subarray(from, from + window - head.length)]
      decoder.clear()
      for (let start = 0; start < part.length - 1; start += BATCH) {
        const batch = part.slice(start, Math.min(start + BATCH, part.length - 1))
        const logits = await decoder.decode(
          batch.map((token, i) => ({ token, position: start + i, slot: 0, wantsLogits: true })),
          signal
        )
        const rows = koffi.decode(logits, 'float', batch.length * vocabulary.size) as ArrayLike<number>
        for (let i = 0; i < batch.length; i++)
          sum -= logProbability(rows, i * vocabulary.size, vocabulary.size, part[start + i + 1]!)
        predicted += batch.length
      }
    }
  } finally {
    decoder.dispose()
  }
  return { perplexity: Math.exp(sum / predicted), tokens: predicted }
}

/** log softmax of the row of `size` logits at `from`, at `target`. */
function logProbability(logits: ArrayLike<number>, from: number, size: number, target: number): number {
  let top = -Infinity
  for (let i = from; i < from + size; i++) top = Math.max(top, logits[i]!)
  let total = 0
  for (let i = from; i < from + size; i++) total += Math.exp(logits[i]! - top)
  return logits[from + target]! - top - Math.log(total)
}
