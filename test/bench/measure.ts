/**
 * One measurement in a process of its own, so that its peak memory is its own; prints one line of JSON. `run.ts` starts it:
 *
 *   node test/bench/measure.ts '{"work":"sft","base":"base.gguf","tokens":512,"threads":2,"repeats":5}'
 */
import { readFileSync, writeFileSync } from 'node:fs'
import koffi from 'koffi'
import { loadavg } from 'node:os'
import { seeded } from '../../src/shared/random.ts'
import { GrpoRecipe, LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { sftLoss } from '../../src/main/training/loss.ts'
import { planTrainer, trainedBy } from '../../src/main/training/plan.ts'
import { policyUpdate } from '../../src/main/training/policy-update.ts'
import type { Group } from '../../src/main/training/rollouts.ts'

export type Work =
  | { readonly work: 'sft'; readonly tokens: number; readonly keep?: 'all' | 'none' }
  | {
      readonly work: 'rollouts'
      readonly sequences: number
      readonly prompt: number
      readonly fresh: number
      readonly adapter: boolean
      /** Also measures, in turn with it, the same libraries' plain batched decode: no sampling, the same tokens each time. */
      readonly plain?: boolean
    }
  | {
      readonly work: 'grpo'
      readonly prompts: number
      readonly group: number
      readonly prompt: number
      readonly fresh: number
    }
export type Measurement = Work & { readonly base: string; readonly threads: number; readonly repeats: number }

export type Measured = {
  /** Tokens per second of wall time, median; a GRPO step counts the tokens of prompts and completions. */
  readonly rate: number
  readonly seconds: number
  /** Processor time of all threads together: on a busy machine cpuSeconds / threads says what a quiet one would need. */
  readonly cpuSeconds: number
  readonly peakMib: number
  readonly load: number
  readonly notes: string
  /** The plain decode of the same width. */
  readonly plain?: { readonly seconds: number; readonly cpuSeconds: number }
}

const RANK = 16
const SAMPLING = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 }
const RATES = { a: 1e-4, b: 1e-4, weight: 1e-4 }
const ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }
const lora = LoraSettings.parse({ r: RANK, lora_alpha: RANK })

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

function randomTokens(model: Model, count: number, label: string): Int32Array {
  const random = seeded('bench', label)
  return Int32Array.from({ length: count }, () => random.integer(0, model.config.vocabulary - 1))
}

/** Forgets the peak so far, where the system can (Linux). */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    return // the peak then includes loading
  }
}

function peakMib(): number {
  try {
    return Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024)
  } catch {
    return Math.round(process.resourceUsage().maxRSS / 1024)
  }
}

/** Runs `step` once uncounted, then `repeats` times; `between` comes after each, uncounted. */
async function timed(
  repeats: number,
  tokens: number,
  step: () => unknown,
  between: () => unknown = () => undefined
): Promise<Omit<Measured, 'notes'>> {
  await step()
  resetPeak()
  let peak = 0 // of the steps alone, before anything is made in between
  const seconds: number[] = []
  const cpu: number[] = []
  for (let i = 0; i < repeats; i++) {
    const [started, used] = [performance.now(), process.cpuUsage()]
    await step()
    const { user, system } = process.cpuUsage(used)
    seconds.push((performance.now() - started) / 1000)
    cpu.push((user + system) / 1e6)
    if (i === 0) peak = peakMib()
    await between()
  }
  const middle = median(seconds)
  return { rate: tokens / middle, seconds: middle, cpuSeconds: median(cpu), peakMib: peak, load: loadavg()[0]! }
}

async function trainerOf(
  model: Model,
  rowTokens: number,
  keep?: 'all' | 'none'
): Promise<{ trainer: Trainer; optimizer: AdamW; adapter: Awaited<ReturnType<typeof createAdapter>> }> {
  const adapter = await createAdapter(model, lora, 1)
  const { trained } = await trainedBy(model, { lora })
  const { settings } = planTrainer(model, trained, { rowTokens }, () => undefined)
  const parameters = new Parameters(model, { kind: 'adapter', adapter }, settings)
  const trainer = new Trainer(parameters, { ...settings, ...(keep && { keep }) })
  return { trainer, optimizer: new AdamW(parameters, ADAMW), adapter }
}

async function sft(model: Model, { tokens, keep, repeats }: Extract<Measurement, { work: 'sft' }>): Promise<Measured> {
  const { trainer, optimizer } = await trainerOf(model, tokens, keep)
  const mask = new Uint8Array(tokens).fill(1, 1)
  const [batch] = pack([{ tokens: randomTokens(model, tokens, 'sft'), mask }], tokens)
  const result = await timed(repeats, tokens, () => {
    trainer.accumulate(batch!, ({ logprobs, entropy }, from) =>
      sftLoss({ logprobs, entropy, sequence: batch!.sequence.subarray(from, from + logprobs.length) }, tokens - 1)
    )
    optimizer.step(RATES)
  })
  return { ...result, notes: `keep ${trainer.settings.keep}` }
}

/** No sequence may end early, so that every run decodes the same number of tokens. */
function withoutEnds(model: Model): void {
  Object.assign(model.vocabulary, { isEndOfGeneration: () => false })
}

/**
 * The bare loop that `llama_decode` allows: a context of the same kind, the prompt once, its cache copied to every sequence,
 * then one batch of one token per sequence and step with logits for all, which nobody reads. Its own FFI calls, not the
 * engine's decoder, so that what the decoder costs shows. Logits of a last token are not needed: one step less than tokens.
 */
function plainDecode(
  model: Model,
  adapter: Adapter | null,
  prompt: Int32Array,
  { sequences, fresh }: { sequences: number; fresh: number }
): () => { seconds: number; cpuSeconds: number } {
  const { llama } = model.backend.native
  const params = llama.context_default_params()
  params.n_ctx = sequences * (prompt.length + fresh)
  params.n_batch = Math.max(2048, sequences)
  params.n_ubatch = 512
  params.n_seq_max = sequences
  params.n_outputs_max = sequences
  params.n_threads = params.n_threads_batch = model.backend.threads
  params.kv_unified = false
  const context = llama.init_from_model(model.handle, params)
  if (context === null) throw new Error('llama.cpp made no context')
  if (adapter) llama.set_adapters_lora(context, [adapter.handle], 1, [1])
  const memory = llama.get_memory(context)
  const decode = (tokens: Int32Array, positions: Int32Array, slots: Int32Array, logits: Int8Array): void => {
    const first = koffi.address(slots)
    const status = llama.decode(context, {
      n_tokens: tokens.length,
      token: tokens,
      embd: null,
      pos: positions,
      n_seq_id: new Int32Array(tokens.length).fill(1),
      seq_id: BigUint64Array.from(tokens, (_, i) => first + BigInt(4 * i)),
      logits
    })
    if (status !== 0) throw new Error(`llama_decode failed with ${status}`)
  }
  const slots = Int32Array.from({ length: sequences }, (_, i) => i)
  const random = randomTokens(model, sequences * fresh, 'plain')
  const all = new Int8Array(sequences).fill(1)
  return () => {
    const [started, used] = [performance.now(), process.cpuUsage()]
    llama.memory_clear(memory, true)
    const last = new Int8Array(prompt.length)
    last[prompt.length - 1] = 1
    decode(prompt, Int32Array.from(prompt.keys()), new Int32Array(prompt.length), last)
    for (let slot = 1; slot < sequences; slot++) llama.memory_seq_cp(memory, 0, slot, -1, -1)
    for (let step = 0; step < fresh - 1; step++) {
      const tokens = random.subarray(step * sequences, (step + 1) * sequences)
      decode(tokens, new Int32Array(sequences).fill(prompt.length + step), slots, all)
    }
    llama.synchronize(context)
    const { user, system } = process.cpuUsage(used)
    return { seconds: (performance.now() - started) / 1000, cpuSeconds: (user + system) / 1e6 }
  }
}

async function rollouts(model: Model, m: Extract<Measurement, { work: 'rollouts' }>): Promise<Measured> {
  withoutEnds(model)
  const adapter = m.adapter ? await createAdapter(model, lora, 1) : null
  const sampler = new Sampler(model, { width: m.sequences, contextTokens: m.prompt + m.fresh })
  const prompt = randomTokens(model, m.prompt, 'rollouts')
  const seeds = Array.from({ length: m.sequences }, (_, i) => `${i}`)
  let plain: ReturnType<typeof plainDecode> | null = null
  const plainRuns: { seconds: number; cpuSeconds: number }[] = []
  let split = { prefill: 0, decode: 0, sample: 0 }
  const result = await timed(
    m.repeats,
    m.sequences * m.fresh,
    async () => {
      split = (await sampler.generate([{ prompt, seeds }], { sampling: SAMPLING, maxTokens: m.fresh, adapter })).seconds
    },
    () => {
      if (!m.plain) return
      if (!plain) (plain = plainDecode(model, adapter, prompt, m))() // once uncounted
      plainRuns.push(plain())
    }
  )
  const of = (what: 'seconds' | 'cpuSeconds'): number => median(plainRuns.map((run) => run[what]))
  return {
    ...result,
    ...(m.plain && { plain: { seconds: of('seconds'), cpuSeconds: of('cpuSeconds') } }),
    notes: `prefill ${split.prefill.toFixed(1)} s, decode ${split.decode.toFixed(1)} s, sample ${split.sample.toFixed(1)} s`
  }
}

async function grpo(model: Model, m: Extract<Measurement, { work: 'grpo' }>): Promise<Measured> {
  withoutEnds(model)
  const rowTokens = Math.max(1024, m.prompt + m.fresh)
  const { trainer, optimizer, adapter } = await trainerOf(model, rowTokens)
  const sampler = new Sampler(model, { width: Math.min(64, m.prompts * m.group), contextTokens: m.prompt + m.fresh })
  const recipe = GrpoRecipe.parse({
    kind: 'grpo',
    base: m.base,
    output_dir: '.',
    tasks: [{ family: 'arithmetic' }],
    beta: 0,
    entropy_coef: 0
  })
  const random = seeded('bench', 'grpo')
  let rolloutSeconds = 0
  const tokens = m.prompts * m.group * (m.prompt + m.fresh)
  const result = await timed(m.repeats, tokens, async () => {
    const started = performance.now()
    const requests = Array.from({ length: m.prompts }, (_, i) => ({
      prompt: randomTokens(model, m.prompt, `prompt ${i}`),
      seeds: Array.from({ length: m.group }, (_, member) => `${i}/${member}`)
    }))
    const { groups } = await sampler.generate(requests, { sampling: SAMPLING, maxTokens: m.fresh, adapter })
    rolloutSeconds = (performance.now() - started) / 1000
    // random advantages, so that no group is without variance
    const scored = groups.map((members, i) => ({
      prompt: requests[i]!.prompt,
      scored: members.map((rollout) => ({ rollout, advantage: random.normal() }))
    }))
    await policyUpdate(trainer, optimizer, scored as unknown as Group[], recipe, rowTokens, RATES, random)
    trainer.release()
  })
  return {
    ...result,
    notes: `rollouts ${rolloutSeconds.toFixed(1)} s of ${result.seconds.toFixed(1)} s, keep ${trainer.settings.keep}`
  }
}

const measurement = JSON.parse(process.argv[2] ?? '') as Measurement
const model = await loadModel(measurement.base, openBackend({ threads: measurement.threads }), { packed: true })
const result = await (measurement.work === 'sft'
  ? sft(model, measurement)
  : measurement.work === 'rollouts'
    ? rollouts(model, measurement)
    : grpo(model, measurement))
process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0)) // the system frees the rest
