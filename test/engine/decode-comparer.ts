/** The training forward against `llama_decode` on whole distributions: for tests and for the table in the documents. */
import { seeded } from '../../src/shared/random.ts'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { elements, write } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { decodeLogits, logSoftmax } from './decode.ts'
import type { DecodeOptions } from './decode.ts'
import { wholeDistribution } from './whole-distribution.ts'

/** Random tokens of a vocabulary, its first three (control tokens) left out. */
export function randomSequence(length: number, seed: number, vocabulary: number): TrainSequence {
  const random = seeded('sequence', seed)
  const tokens = Int32Array.from({ length }, () => random.integer(3, vocabulary - 1))
  return { tokens, mask: new Uint8Array(length).fill(1) }
}

/** An adapter of rank 4 on all linear layers, whose B is not zero. */
export async function randomAdapter(model: Model): Promise<Adapter> {
  const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
  const random = seeded('b')
  for (const { b } of adapter.pairs) {
    const values = Float32Array.from({ length: elements(b) }, () => 0.1 * random.normal())
    write(model.backend, b, values)
  }
  adapter.publish()
  return adapter
}

export type Apart = { readonly mean: number; readonly most: number }

export type Comparer = {
  /** |Δ log p| of every token after every position of each sequence, packed into one row for training, decoded one by one. */
  compare(sequences: readonly TrainSequence[], decode: DecodeOptions): Apart[]
  dispose(): void
}

export function comparer(
  model: Model,
  adapter: Adapter,
  withAdapter: boolean,
  settings: { readonly chunkQueries?: number; readonly contextTokens?: number } = {}
): Comparer {
  const parameters = new Parameters(model, { kind: 'adapter', adapter })
  const trainer = new Trainer(parameters, { keep: 'none', chunkQueries: 64, headRows: 512, ...settings })
  const { vocabulary } = model.config
  return {
    compare(sequences, decode) {
      const used = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0)
      const [batch] = pack(sequences, used)
      const { logprobs } = trainer.score(wholeDistribution(batch!, vocabulary), { reference: !withAdapter })
      let from = 0
      return sequences.map(({ tokens }) => {
        const ours = logprobs.subarray(from, (from += tokens.length * vocabulary))
        const theirs = decodeLogits(model, tokens, withAdapter ? adapter : null, { ...settings, ...decode })
        return apart(ours, logSoftmax(theirs, vocabulary))
      })
    },
    dispose() {
      trainer.dispose()
      parameters.dispose()
    }
  }
}

function apart(ours: Float32Array, theirs: Float32Array): Apart {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} and ${theirs.length} log-probabilities`)
  let [sum, most] = [0, 0]
  for (let i = 0; i < ours.length; i++) {
    const difference = Math.abs(ours[i]! - theirs[i]!)
    sum += difference
    most = difference > most || Number.isNaN(difference) ? difference : most
  }
  return { mean: sum / ours.length, most }
}
