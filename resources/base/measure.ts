/**
 * What the base can do, without a sampler: an answer counts as known when every token of it is the likeliest one given
 * the right ones before it, which is what greedy decoding gives. Thoughts are measured by their loss, as plain text.
 */
import { pack } from '../../src/main/engine/batch.ts'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import type { Trainer } from '../../src/main/engine/trainer.ts'
import { FAMILIES } from '../../src/main/reasoning/tasks/index.ts'
import { seeded } from '../../src/shared/random.ts'
import { isReserved } from './corpus.ts'
import { toMeasured } from './sequences.ts'

const TASKS = 24

/** Mean loss per token and mean probability of a whole completion under the model at temperature 1. */
function score(trainer: Trainer, sequences: readonly TrainSequence[]): { loss: number; whole: number } {
  const sums = new Float64Array(sequences.length)
  let [loss, count] = [0, 0]
  for (const batch of pack(sequences, 1024)) {
    trainer.score(batch).logprobs.forEach((logprob, i) => {
      sums[batch.sequence[i]!]! += logprob
      loss -= logprob
      count++
    })
  }
  return { loss: loss / count, whole: sums.reduce((sum, logprob) => sum + Math.exp(logprob), 0) / sequences.length }
}

/** By family and difficulty: probability of the right direct answer in percent / loss per token of the teacher's thought. */
export function measure(trainer: Trainer): Record<string, string> {
  const { vocabulary } = trainer.parameters.model
  const out: Record<string, string> = {}
  for (const family of FAMILIES.values()) {
    const cells = [1, 2, 3, 4, 5].map((difficulty) => {
      const random = seeded('measure', family.name, difficulty)
      const tasks = Array.from({ length: 300 }, () => family.generate(difficulty, random)).filter(isReserved).slice(0, TASKS) // prettier-ignore
      const traces = tasks.map((task) => ({ prompt: task.prompt, ...family.teach(task, random) }))
      const chat = (prompt: string, reply: string): TrainSequence =>
        toMeasured(vocabulary, `<|im_start|>user<|im_sep|>${prompt}<|im_end|><|im_start|>assistant<|im_sep|>«${reply}<|im_end|>»`) // prettier-ignore
      const direct = score(trainer, traces.map(({ prompt, answer }) => chat(prompt, answer))) // prettier-ignore
      const thought = score(trainer, traces.map(({ prompt, thinking }) => toMeasured(vocabulary, `${prompt} «${thinking}»`))) // prettier-ignore
      return `${(100 * direct.whole).toFixed(0)}/${thought.loss.toFixed(2)}`
    })
    out[family.name] = cells.join(' ')
  }
  return out
}
