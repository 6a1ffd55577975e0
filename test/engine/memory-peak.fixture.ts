/**
 * One step in a process of its own: prints the peak that the plan says and the one the kernel saw (Linux), as JSON.
 *
 *   node test/engine/memory-peak.fixture.ts '{"base":"base.gguf","tokens":512,"keep":"all","transposes":"cached"}'
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Keep } from '../../src/main/engine/activations.ts'
import { modulesOf } from '../../src/main/engine/arch/targets.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { planMemory } from '../../src/main/engine/memory.ts'
import type { Plan } from '../../src/main/engine/memory-plan.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { Transposes } from '../../src/main/engine/weight-copies.ts'

export type Asked = {
  readonly base: string
  readonly tokens: number
  readonly keep: Keep
  readonly transposes: Transposes
  /** Sequences that are sampled before the row is trained, the sampler's memory held meanwhile. */
  readonly width?: number
}
export type Seen = {
  readonly planned: number
  readonly peak: number
  readonly heap: number
  readonly items: Plan['bytes']
}

const { base, tokens, keep, transposes, width } = JSON.parse(process.argv[2]!) as Asked

const status = (key: 'VmHWM' | 'VmRSS'): number =>
  1024 * Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1])

const backend = openBackend({ threads: 1 })
global.gc?.()
writeFileSync('/proc/self/clear_refs', '5') // forgets the peak so far
const [before, heapBefore] = [status('VmRSS'), process.memoryUsage().heapTotal]

const model = await loadModel(base, backend)
const adapter = await createAdapter(model, LoraSettings.parse({ r: 16 }), 1)
const rollouts = width === undefined ? undefined : { width, contextTokens: 256, promptTokens: 200, fixedWidth: true }
const request = {
  trained: { kind: 'lora', r: 16, targets: modulesOf(model.architecture) } as const,
  tokens,
  ...(rollouts && { rollouts })
}
let plan: Plan | undefined
for (let limitBytes = 1e12; ; limitBytes = plan.totalBytes - 1) {
  plan = planMemory(backend, model, { ...request, limitBytes })
  if (plan.settings.keep === keep && plan.settings.transposes === transposes) break
  if (!plan.fits) throw new Error('no plan has these settings')
}
const parameters = new Parameters(model, { kind: 'adapter', adapter }, plan.settings)
const trainer = new Trainer(parameters, plan.settings)
const optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 })
const ids = Int32Array.from({ length: tokens }, (_, i) => (i * 7919) % Math.min(40000, model.config.vocabulary))
const sampler = rollouts && new Sampler(model, { width: rollouts.width, contextTokens: rollouts.contextTokens })
await sampler?.generate([{ prompt: ids.subarray(0, 200), seeds: Array.from({ length: width! }, (_, i) => `${i}`) }], {
  sampling: { temperature: 1, top_k: 0, top_p: 1, min_p: 0 },
  maxTokens: 3,
  adapter
})
// a head chunk of predicted tokens: the memory is that of the whole row, the head's time is not
const mask = new Uint8Array(tokens).fill(1, tokens - plan.settings.headRows)
trainer.accumulate(pack([{ tokens: ids, mask }], tokens)[0]!, ({ logprobs }) => ({
  logprob: new Float32Array(logprobs.length).fill(-1),
  entropy: new Float32Array(logprobs.length).fill(0.01)
}))
optimizer.step({ a: 1e-4, b: 1e-4, weight: 1e-4 })
const seen: Seen = {
  planned: plan.totalBytes,
  peak: status('VmHWM') - before,
  heap: process.memoryUsage().heapTotal - heapBefore,
  items: plan.bytes
}
process.stdout.write(JSON.stringify(seen))
