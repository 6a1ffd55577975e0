/**
 * Rollouts: batched decoding at a fixed width. A group's prompt is evaluated once and its cache copied to the group's other
 * slots; a finished sequence's slot is taken by the next waiting one at once, so that the width stays full. Prompts are
 * evaluated in batches of their own, never inside a decode step.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import type { Random } from '../../shared/random.ts'
import type { SamplingSettings } from '../../shared/recipe.ts'
import type { Rollout, StopReason } from '../../shared/task.ts'
import type { Adapter } from './adapter.ts'
import { Decoder } from './decoder.ts'
import type { DecodeToken, DecoderSettings } from './decoder.ts'
import { orDispose } from './ffi/owned.ts'
import type { Model } from './model.ts'
import { ProbabilityRows, temperatureOneLogprob } from './probability-rows.ts'
import type { ProbabilityRow } from './probability-rows.ts'
import { draw, likeliest } from './sampling.ts'

export type SampleRequest = {
  readonly prompt: Int32Array
  /** One sequence per seed: the same seed gives the same tokens at the same width. */
  readonly seeds: readonly string[]
}

export type GenerateOptions = {
  readonly sampling: SamplingSettings
  readonly maxTokens: number
  readonly adapter: Adapter | null
  /** Always take the likeliest token. */
  readonly greedy?: boolean
  readonly signal?: AbortSignal
  readonly onToken?: (request: number, member: number, token: number) => void
  readonly onProgress?: (doneSequences: number, ofSequences: number, tokens: number) => void
}

export type Generation = {
  /** Rollouts by request, then by seed. */
  readonly groups: readonly (readonly Rollout[])[]
  readonly tokens: number
  readonly seconds: { readonly prefill: number; readonly decode: number; readonly sample: number }
}

/** How long the event loop may stand still, one native call apart. */
const BREATH_MS = 50

type Sequence = {
  readonly request: number
  readonly member: number
  readonly random: Random
  readonly tokens: number[]
  readonly samplingLogprobs: number[]
  readonly logprobs: number[]
  readonly temperatureOneLogprobs: number[]
  stop: StopReason | null
}

export class Sampler {
  readonly model: Model
  readonly #decoder: Decoder
  readonly #rows: ProbabilityRows

  /** Throws AppError('memory') when caches or logits find no room. */
  constructor(model: Model, settings: DecoderSettings) {
    this.model = model
    this.#decoder = new Decoder(model, settings)
    this.#rows = orDispose([this.#decoder], () => new ProbabilityRows(model, settings.width))
  }

  get width(): number {
    return this.#decoder.width
  }

  /** Throws AppError('cancelled') when the signal fires, within one decode step. */
  async generate(requests: readonly SampleRequest[], options: GenerateOptions): Promise<Generation> {
    const longest = requests.reduce((most, { prompt }) => Math.max(most, prompt.length), 0)
    if (longest + options.maxTokens > this.#decoder.contextTokens) {
      throw new AppError(
        'recipe',
        `a prompt of ${longest} tokens and a response of ${options.maxTokens} exceed the ${this.#decoder.contextTokens} tokens of a slot`,
        'Lower max_completion_length or drop long prompts.'
      )
    }
    this.#decoder.use(options.adapter)
    this.#decoder.clear()
    return new Generating(this.#decoder, this.#rows, requests, options).run()
  }

  dispose(): void {
    this.#decoder.dispose()
    this.#rows.dispose()
  }
}

/** One call of `generate`: which sequence sits in which slot, and what each slot's cache holds. */
class Generating {
  readonly #decoder: Decoder
  readonly #rows: ProbabilityRows
  readonly #requests: readonly SampleRequest[]
  readonly #options: GenerateOptions
  readonly #waiting: Sequence[]
  readonly #all: Sequence[]
  readonly #slots: (Sequence | null)[]
  /** The request whose prompt each slot's cache begins with. */
  readonly #cached: (number | null)[]
  /** Probabilities after a request's prompt, for the first token of each of its sequences. */
  readonly #first = new Map<number, ProbabilityRow>()
  #breath = performance.now()
  #done = 0
  #tokens = 0
  readonly #ms = { prefill: 0, decode: 0, sample: 0 }

  constructor(decoder: Decoder, rows: ProbabilityRows, requests: readonly SampleRequest[], options: GenerateOptions) {
    this.#decoder = decoder
    this.#rows = rows
    this.#requests = requests
    this.#options = options
    this.#all = requests.flatMap(({ seeds }, request) =>
      seeds.map((seed, member) => ({
        request,
        member,
        random: seeded(seed),
        tokens: [],
        samplingLogprobs: [],
        logprobs: [],
        temperatureOneLogprobs: [],
        stop: null
      }))
    )
    this.#waiting = [...this.#all]
    this.#slots = new Array<Sequence | null>(decoder.width).fill(null)
    this.#cached = new Array<number | null>(decoder.width).fill(null)
  }

  async run(): Promise<Generation> {
    for (;;) {
      await this.#fill()
      const active = this.#slots.flatMap((sequence, slot) => (sequence ? [{ sequence, slot }] : []))
      if (active.length === 0) break
      await this.#step(active)
      await this.#breathe()
    }
    this.#options.onProgress?.(this.#done, this.#all.length, this.#tokens)
    let from = 0 // sequences lie in the order of requests, then of seeds
    const groups = this.#requests.map(({ seeds }) => this.#all.slice(from, (from += seeds.length)).map(rollout))
    const { prefill, decode, sample } = this.#ms
    return {
      groups,
      tokens: this.#tokens,
      seconds: { prefill: prefill / 1000, decode: decode / 1000, sample: sample / 1000 }
    }
  }

  /** Between native calls: lets the event loop turn now and then, so that a cancel is heard. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breath < BREATH_MS) return
    this.#options.onProgress?.(this.#done, this.#all.length, this.#tokens)
    await nextTurn()
    this.#breath = performance.now()
    if (this.#options.signal?.aborted) throw new AppError('cancelled', 'sampling was cancelled')
  }

  /** Puts waiting sequences into free slots until the width is full. A sequence may end with its first token. */
  async #fill(): Promise<void> {
    for (;;) {
      const free = this.#slots.flatMap((sequence, slot) => (sequence ? [] : [slot]))
      const taking = this.#waiting.splice(0, free.length)
      if (taking.length === 0) return
      await this.#prefill(taking, free)
      const started = performance.now()
      taking.forEach((sequence, i) => {
        const slot = this.#place(sequence, new Set(taking.slice(i + 1).map((it) => it.request)))
        this.#take(sequence, slot, this.#first.get(sequence.request)!)
      })
      this.#ms.sample += performance.now() - started
      const waiting = new Set(this.#waiting.map((it) => it.request))
      for (const request of this.#first.keys()) if (!waiting.has(request)) this.#first.delete(request)
    }
  }

  /**
   * Evaluates the prompts that no slot's cache begins with, each in a free slot of its own; a prompt longer than a batch
   * spans several.
   */
  async #prefill(taking: readonly Sequence[], free: readonly number[]): Promise<void> {
    const missing = [...new Set(taking.map((it) => it.request))].filter((request) => !this.#cached.includes(request))
    // prefer slots whose cache no waiting sequence needs
    const needed = new Set(taking.map((it) => it.request))
    const usable = [...free].sort(
      (a, b) => Number(needed.has(this.#cached[a] ?? -1)) - Number(needed.has(this.#cached[b] ?? -1)) || a - b
    )
    const { batchTokens, width } = this.#decoder
    let batch: DecodeToken[] = []
    let ended: number[] = []
    const flush = async (): Promise<void> => {
      if (batch.length === 0) return
      const started = performance.now()
      const logits = await this.#decoder.decode(batch, this.#options.signal)
      if (ended.length > 0) this.#rows.load(logits, ended.length, this.#options.sampling.temperature)
      ended.forEach((request, i) => {
        const row = this.#rows.row(i)
        this.#first.set(request, { ...row, probabilities: row.probabilities.slice() })
      })
      batch = []
      ended = []
      this.#ms.prefill += performance.now() - started
      await this.#breathe()
    }
    for (const request of missing) {
      const { prompt } = this.#requests[request]!
      const slot = usable.shift()!
      this.#decoder.truncate(slot, -1)
      this.#cached[slot] = request
      for (const [position, token] of prompt.entries()) {
        const last = position === prompt.length - 1
        batch.push({ token, position, slot, wantsLogits: last })
        if (last) ended.push(request)
        if (batch.length === batchTokens || ended.length === width) await flush()
      }
    }
    await flush()
  }

  /**
   * Finds the sequence a free slot whose cache begins with its prompt, copying the cache where needed. Never takes the slot
   * of a request that is placed `next`; one that only waits can have its prompt evaluated again.
   */
  #place(sequence: Sequence, next: ReadonlySet<number>): number {
    const prompt = this.#requests[sequence.request]!.prompt.length
    const empty = this.#slots.flatMap((it, slot) => (it === null ? [slot] : []))
    const own = empty.find((slot) => this.#cached[slot] === sequence.request) ?? -1
    const waiting = new Set(this.#waiting.map((it) => it.request))
    const spare = empty.filter((slot) => !next.has(this.#cached[slot] ?? -1))
    const slot = own >= 0 ? own : (spare.find((it) => !waiting.has(this.#cached[it] ?? -1)) ?? spare[0]!)
    if (own < 0) this.#decoder.copy(this.#cached.indexOf(sequence.request), slot)
    this.#cached[slot] = sequence.request
    this.#decoder.truncate(slot, prompt)
    this.#slots[slot] = sequence
    return slot
  }

  async #step(active: readonly { sequence: Sequence; slot: number }[]): Promise<void> {
    const started = performance.now()
    const logits = await this.#decoder.decode(
      active.map(({ sequence, slot }) => ({
        token: sequence.tokens.at(-1)!,
        position: this.#requests[sequence.request]!.prompt.length + sequence.tokens.length - 1,
        slot,
        wantsLogits: true
      })),
      this.#options.signal
    )
    const decoded = performance.now()
    this.#rows.load(logits, active.length, this.#options.sampling.temperature)
    active.forEach(({ sequence, slot }, row) => this.#take(sequence, slot, this.#rows.row(row)))
    this.#ms.decode += decoded - started
    this.#ms.sample += performance.now() - decoded
  }

  /** Draws the next token of a sequence; frees the slot when it was the last. */
  #take(sequence: Sequence, slot: number, row: ProbabilityRow): void {
    const { greedy, maxTokens, onToken, sampling } = this.#options
    const { probabilities } = row
    const { token, probability } = greedy ? likeliest(probabilities) : draw(probabilities, sampling, sequence.random)
    sequence.tokens.push(token)
    sequence.samplingLogprobs.push(Math.log(probability))
    sequence.logprobs.push(Math.log(probabilities[token]!))
    if (row.temperature !== 1) sequence.temperatureOneLogprobs.push(temperatureOneLogprob(row, token))
    this.#tokens++
    onToken?.(sequence.request, sequence.member, token)
    if (this.#decoder.model.vocabulary.isEndOfGeneration(token)) sequence.stop = 'eos'
    else if (sequence.tokens.length >= maxTokens) sequence.stop = 'length'
    if (sequence.stop === null) return
    this.#slots[slot] = null
    this.#done++
  }
}

function rollout(sequence: Sequence): Rollout {
  const logprobs = Float32Array.from(sequence.logprobs)
  const { temperatureOneLogprobs: atOne } = sequence // nothing where that is the sampling temperature
  return {
    tokens: Int32Array.from(sequence.tokens),
    samplingLogprobs: Float32Array.from(sequence.samplingLogprobs),
    logprobs,
    temperatureOneLogprobs: atOne.length > 0 ? Float32Array.from(atOne) : logprobs,
    stop: sequence.stop!
  }
}
