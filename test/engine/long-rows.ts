/** One forward and backward over a row of many tokens, and what it took. */
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { PlannedTraining } from '../../src/main/engine/layer-scratch.ts'
import { planMemory } from '../../src/main/engine/memory.ts'
import type { Plan } from '../../src/main/engine/memory-plan.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import { modulesOf } from '../../src/main/engine/arch/targets.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { writeTinyModel } from './tiny-model.ts'

/** Small enough that 32k tokens take seconds; its rows are still much longer than wide. */
export function writeSlimModel(backend: Backend, path: string): void {
  const shape = {
    layers: 1,
    width: 32,
    feedForward: 32,
    heads: 1,
    keyHeads: 1,
    headDim: 32,
    vocabulary: 128,
    tied: true
  }
  writeTinyModel(backend, path, { ...shape, contextLength: 32768 })
}

const LORA: PlannedTraining = { kind: 'lora', r: 4, targets: modulesOf(llama) }
const PLENTY = 1e15

/** The plan that keeps activations, and the one with the smallest chunks. */
export const plansFor = (model: Model, tokens: number): readonly [kept: Plan, smallest: Plan] => {
  const plan = (limitBytes: number): Plan => planMemory(model.backend, model, { trained: LORA, tokens, limitBytes })
  return [plan(PLENTY), plan(1)]
}

/**
 * Memory the process holds beside JavaScript's heap, which describing graphs fills with what is collected some time later: plans
 * count it apart, as the process's own.
 */
function outsideTheHeap(): number {
  const { rss, heapTotal } = process.memoryUsage()
  return rss - heapTotal
}

export type Taken = {
  readonly planned: number
  readonly counted: number
  /** What the plan says for descriptions of graphs. */
  readonly described: number
  readonly grown: number
}

/** Bytes of a pass over one sequence that fills the row: what the plan says, what the engine counts, what the process grew by. */
export async function takenBy(
  own: <T extends { dispose(): void }>(made: T) => T,
  model: Model,
  tokens: number
): Promise<Taken> {
  const { bytes, settings } = plansFor(model, tokens)[1]
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const trainer = own(new Trainer(own(new Parameters(model, { kind: 'adapter', adapter }, settings)), settings))
  // one predicted token: the memory and the attention are those of the whole row, the head's time is not
  const ids = Int32Array.from({ length: tokens }, (_, t) => 3 + (t % 100))
  const [row] = pack(
    [{ tokens: ids, mask: Uint8Array.from({ length: tokens }, (_, t) => Number(t === tokens - 1)) }],
    tokens
  )
  const before = outsideTheHeap()
  trainer.accumulate(row!, ({ logprobs }) => ({
    logprob: new Float32Array(logprobs.length).fill(-1),
    entropy: new Float32Array(logprobs.length)
  }))
  const grown = outsideTheHeap() - before
  const { activations, scratch } = trainer.bytes
  return {
    planned: bytes.boundaries + bytes.activations + bytes.scratch,
    counted: activations + scratch,
    described: bytes.graphs,
    grown
  }
}
