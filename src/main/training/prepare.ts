/**
 * A base made ready to be taught to think, as the report made Phi-4 (paper-facts 3.1, 3.4): two placeholder tokens become
 * think tokens, the context grows and RoPE's base with it, and the chat template says the fixed system message; or one in
 * F32, so that every weight can be trained. The result is a GGUF of its own; the base is never written to.
 */
import { readFileSync, rmSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { JobContext, JobFunction, JobInput } from '../../shared/worker-contract.ts'
import { openBackend } from '../engine/backend.ts'
import type { Backend } from '../engine/backend.ts'
import type { BytePatch } from '../engine/derived-gguf.ts'
import { deriveGguf, refuseTarget } from '../engine/derived-gguf.ts'
import { Held } from '../engine/ffi/owned.ts'
import { readGguf } from '../engine/gguf.ts'
import type { GgufInfo } from '../engine/gguf.ts'
import type { GgufValue } from '../engine/gguf-writer.ts'
import { writeInType } from '../engine/merge.ts'
import { loadModel } from '../engine/model.ts'
import type { Model } from '../engine/model.ts'
import { perplexityOf } from '../engine/perplexity.ts'
import type { Perplexity } from '../engine/perplexity.ts'
import { placeholders, planThinkTokens } from '../engine/prepare.ts'
import type { Renamed } from '../engine/prepare.ts'
import { TYPE } from '../engine/tensor.ts'
import { PREPARED_KEYS } from '../engine/vocabulary.ts'
import { partialOf, removeAbandoned } from '../files/partial.ts'
import { reasoningTemplate } from '../policy/reasoning-template.ts'
import { reasoningSystemMessage } from '../reasoning/prompts.ts'
import { THINK_TAGS } from '../reasoning/trace.ts'
import type { ThinkTags } from '../reasoning/trace.ts'
import { SHORT_TEXT } from './short-text.ts'

type Input = JobInput<'prepare'>

/** One thing that is changed: what the file gets, what a person reads, what `--json` says. */
type Change = {
  readonly values: Readonly<Record<string, GgufValue>>
  readonly patches: readonly BytePatch[]
  readonly lines: readonly string[]
  readonly facts: Readonly<Record<string, unknown>>
}

/** The report doubled Phi-4's when it doubled the context. */
const REPORT_ROPE_FACTOR = 2

/**
 * A perplexity this many times the old one gets a warning. A guess: doubling RoPE's base cost 3.2 % on SmolLM2-135M-Instruct
 * (Q4_1) and 6.6 % on the bundled base.
 */
const SUSPICIOUS_RATIO = 1.25

export const runPrepare: JobFunction<'prepare'> = async (input, context) => {
  const { base, to } = input
  const { emit, signal } = context
  const held = new Held()
  try {
    const text = input.text === undefined ? SHORT_TEXT : readText(input.text)
    emit({ kind: 'phase', name: 'loading' })
    const info = await readGguf(base)
    refuse(info, input)
    removeAbandoned(to)
    const backend = held.own(openBackend(input.threads === undefined ? {} : { threads: input.threads }))
    const widens = input.f32 && !isF32(info)
    const from = widens ? held.own(await widened(info, backend, input, context)).path : base
    const model = held.own(await loadModel(from, backend))
    const thoughts = thinkChange(model, input, context)
    const changes = [thoughts, lengthChange(model, input), templateChange(model, input, thoughts, context)]
    const values = Object.assign({}, ...changes.map((change) => change.values)) as Change['values']

    emit({ kind: 'phase', name: 'perplexity of the base' })
    const before = widens ? await perplexityIn(base, backend, text, signal) : await perplexityOf(model, text, signal)
    emit({ kind: 'phase', name: 'writing' })
    let after: Perplexity | undefined
    const bytes = await deriveGguf({
      from,
      to,
      values,
      patches: changes.flatMap(({ patches }) => patches),
      force: input.force,
      signal,
      onProgress: (done, of) => emit({ kind: 'progress', label: 'copying', done, of }),
      check: async (temporary) => {
        emit({ kind: 'phase', name: 'perplexity of what was written' })
        after = await perplexityIn(temporary, backend, text, signal)
        if (!Number.isFinite(after.perplexity))
          throw new AppError(
            'model',
            `with these changes ${base} computes ${after.perplexity}`,
            'Nothing was written. Choose a smaller rope factor.'
          )
      }
    })
    const ratio = after!.perplexity / before.perplexity
    if (ratio > SUSPICIOUS_RATIO) {
      const how = `the perplexity grew from ${before.perplexity.toPrecision(5)} to ${after!.perplexity.toPrecision(5)}`
      emit({ kind: 'log', level: 'warn', text: `${how}: train on long texts before you trust it, or change less` })
    }
    return {
      to,
      bytes,
      ...(widens && { f32: true }),
      ...(Object.assign({}, ...changes.map(({ facts }) => facts)) as object),
      perplexity: { before: before.perplexity, after: after!.perplexity, tokens: before.tokens },
      changed: { metadata: Object.keys(values), rows: changes.flatMap(({ patches }) => patches).length },
      lines: [
        `wrote ${to}`,
        ...(widens ? ['every weight is in F32: the same numbers, with room for small changes'] : []),
        ...changes.flatMap(({ lines }) => lines),
        `perplexity on ${before.tokens} tokens of text: ${before.perplexity.toPrecision(5)} before, ${after!.perplexity.toPrecision(5)} after (${signed(ratio)})`,
        ...(Object.keys(values).length === 0
          ? []
          : [`all else is the base's${widens ? '' : ', byte by byte'}; changed: ${Object.keys(values).join(', ')}`])
      ]
    }
  } finally {
    held.dispose()
  }
}

const signed = (ratio: number): string => `${ratio < 1 ? '' : '+'}${((ratio - 1) * 100).toFixed(1)} %`

function refuse(info: GgufInfo, { base, to, force, think, context, rope_factor, system_message, f32 }: Input): void {
  if (think === undefined && context === undefined && rope_factor === undefined && system_message === undefined) {
    if (f32 && isF32(info))
      throw new AppError('usage', `every weight of ${base} is F32 already`, 'Nothing was written; use it as it is.')
    if (!f32)
      throw new AppError(
        'usage',
        'nothing to prepare',
        'Give --think, --context, --rope-factor, --system-message or --f32.'
      )
  }
  if ((info.number('split.count') ?? 1) > 1)
    throw new AppError('model', `${base} is one of several parts`, 'Join them first: llama-gguf-split --merge.')
  refuseTarget(base, to, force)
}

const isF32 = ({ tensors }: GgufInfo): boolean => [...tensors.values()].every(({ type }) => type === TYPE.F32)

/** The base in F32, in a file beside the target that is there until it is disposed of. */
async function widened(
  info: GgufInfo,
  backend: Backend,
  { to }: Input,
  { emit, signal }: JobContext
): Promise<{ path: string; dispose: () => void }> {
  emit({ kind: 'phase', name: 'writing F32' })
  const path = partialOf(to)
  const between = async (done: number, of: number): Promise<void> => {
    await nextTurn()
    if (signal.aborted) throw new AppError('cancelled', 'stopped; nothing was written')
    emit({ kind: 'progress', label: 'tensors', done, of })
  }
  await writeInType({ backend, info }, null, path, { type: 'F32', between })
  return { path, dispose: () => rmSync(path, { force: true }) }
}

async function perplexityIn(path: string, backend: Backend, text: string, signal: AbortSignal): Promise<Perplexity> {
  const model = await loadModel(path, backend)
  try {
    return await perplexityOf(model, text, signal)
  } finally {
    model.dispose()
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new AppError('data', `${path}: cannot be read`, 'Give a text file, or leave --text out.', { cause })
  }
}

const tagsOf = (think: NonNullable<Input['think']>): ThinkTags =>
  think === true ? THINK_TAGS : { open: think[0], close: think[1] }

const UNCHANGED: Change = { values: {}, patches: [], lines: [], facts: {} }

/** Think tokens from placeholders; from the vocabulary, where it has them; or, where neither is there, text tags. */
function thinkChange(model: Model, { base, think, like }: Input, { emit }: JobContext): Change {
  if (think === undefined) return UNCHANGED
  const { open, close } = tagsOf(think)
  if (open === close) throw new AppError('usage', `both think tags are ${open}`, 'Spell them differently.')
  const spelling: Change['values'] = {
    [PREPARED_KEYS.open]: { kind: 'text', value: open },
    [PREPARED_KEYS.close]: { kind: 'text', value: close }
  }
  const { vocabulary } = model
  const facts = (tokens: 'renamed' | 'present' | 'text', renamed: readonly Renamed[] = []): Change['facts'] => ({
    think: { open, close, tokens, renamed }
  })
  const there = [open, close].filter((name) => vocabulary.specialToken(name) !== null)
  if (there.length === 2) {
    const line = `${open} and ${close} are tokens of this base already; they stay as they are`
    return { ...UNCHANGED, values: spelling, lines: [line], facts: facts('present') }
  }
  const tokens = [open, close].map((name, i) => ({ name, like: like[i]! })).filter(({ name }) => !there.includes(name))
  const plan = planThinkTokens(model, tokens)
  if (!plan) {
    const line = `${base} has ${placeholders(model).length} unused placeholder tokens, ${tokens.length} are needed: ${open} and ${close} are ordinary text`
    emit({ kind: 'log', level: 'warn', text: line })
    return { ...UNCHANGED, values: spelling, lines: [line], facts: facts('text') }
  }
  return {
    values: { ...plan.values, ...spelling },
    patches: plan.patches,
    lines: plan.renamed.map(({ id, was, name }) => `token ${id}: ${was} becomes ${name}`),
    facts: facts('renamed', plan.renamed)
  }
}

/** The context a file says, and the base of RoPE that goes with it. */
function lengthChange({ info, config }: Model, { context, rope_factor }: Input): Change {
  const { architecture, contextLength } = config
  const longer = context !== undefined && context > contextLength
  const factor = rope_factor ?? (longer ? REPORT_ROPE_FACTOR : 1)
  if (context === undefined && factor === 1) return UNCHANGED
  const from = info.number(`${architecture}.rope.freq_base`) ?? config.rope.base
  const to = from * factor
  return {
    patches: [],
    values: {
      ...(context !== undefined && { [`${architecture}.context_length`]: { kind: 'u32', value: context } as const }),
      ...(factor !== 1 && { [`${architecture}.rope.freq_base`]: { kind: 'f32', value: to } as const })
    },
    lines: [
      ...(context === undefined ? [] : [`context: ${contextLength} becomes ${context} tokens`]),
      ...(factor === 1 ? [] : [`RoPE base: ${from} becomes ${to}`])
    ],
    facts: { context: { before: contextLength, after: context ?? contextLength }, rope: { before: from, after: to } }
  }
}

/** The chat template with the fixed system message, when thoughts or a message are asked for. */
function templateChange(model: Model, input: Input, thoughts: Change, { emit }: JobContext): Change {
  const { base, think, system_message } = input
  if (think === undefined && system_message === undefined) return UNCHANGED
  const { vocabulary } = model
  const { prepared } = vocabulary
  const { open, close } =
    think === undefined
      ? { open: prepared.open ?? THINK_TAGS.open, close: prepared.close ?? THINK_TAGS.close }
      : tagsOf(think)
  const tags: ThinkTags = { open, close }
  const systemMessage = system_message ?? reasoningSystemMessage(tags)
  const values: Change['values'] = { [PREPARED_KEYS.systemMessage]: { kind: 'text', value: systemMessage } }
  if (vocabulary.template === undefined) {
    const line = `${base} has no chat template: none was patched, and it can be sampled from but not taught`
    emit({ kind: 'log', level: 'warn', text: line })
    return { ...UNCHANGED, values, lines: [line], facts: { template: null } }
  }
  const spelledOut = thoughts.patches.length === 0 && vocabulary.specialToken(open) === null
  const patched = reasoningTemplate(vocabulary.template, { tags, systemMessage, spelledOut }, (source) => vocabulary.renderer(source)) // prettier-ignore
  if (patched.problems.length > 0) {
    throw new AppError(
      'model',
      `the chat template of ${base} would damage traces: ${patched.problems.join('; ')}`,
      'Nothing was written. Prepare another base, or leave --think and --system-message out.'
    )
  }
  return {
    values: { ...values, 'tokenizer.chat_template': { kind: 'text', value: patched.source } },
    patches: [],
    lines: [
      `chat template: the system message goes into ${patched.place}; ${patched.samples} sample conversations pass`
    ],
    facts: { template: { place: patched.place, samples: patched.samples, system_message: systemMessage } }
  }
}
