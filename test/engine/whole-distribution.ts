/** The training forward's whole distribution, from the same public call that training uses. */
import type { PackedBatch } from '../../src/main/engine/batch.ts'

/** A row that asks for every token of the vocabulary after every position: its logprobs are the whole log-softmax. */
export function wholeDistribution(batch: PackedBatch, vocabulary: number): PackedBatch {
  const n = batch.tokens.length * vocabulary
  const indices = Int32Array.from({ length: n }, (_, i) => i)
  return {
    ...batch,
    at: indices.map((i) => Math.floor(i / vocabulary)),
    targets: indices.map((i) => i % vocabulary),
    sequence: new Int32Array(n)
  }
}
