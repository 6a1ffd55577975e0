/** What a GGUF file is, from its header alone: without native code, without loading it. */
import type { GgufFileInfo } from 'node-llama-cpp'
import { AppError } from '../../../shared/errors.ts'
import { TRAINABLE_ARCHITECTURES } from '../../../shared/architectures.ts'

export type HeaderFacts = {
  readonly kind: 'model' | 'adapter'
  readonly architecture: string | null
  readonly name: string | null
  readonly parameters: number | null
  readonly quantisation: string | null
  readonly contextLength: number | null
  readonly trainable: boolean
  readonly reason: string
  readonly hasTemplate: boolean
  readonly templateVerdict: string
  /** With a rank-16 adapter on every linear and rows of 2048 tokens; null where the header does not say enough. */
  readonly needBytes: number | null
}

export type HeaderDetails = {
  readonly metadata: { key: string; value: string }[]
  readonly tensors: { name: string; type: string; shape: number[] }[]
  readonly chatTemplate: string | null
}

/** Throws AppError('model') for a file that is no GGUF or whose header is cut off. */
export async function readHeader(path: string): Promise<{ facts: HeaderFacts; details: () => Promise<HeaderDetails> }> {
  const { readGgufFileInfo, GgufFileType, GgmlType } = await import('node-llama-cpp')
  const info = await readGgufFileInfo(path, { logWarnings: false, sourceType: 'filesystem' }).catch(
    (cause: unknown) => {
      const foreign = /magic/i.test(String(cause))
      throw new AppError(
        'model',
        foreign ? 'it does not begin with "GGUF"' : 'its header cannot be read',
        'Fetch it again.',
        { cause }
      )
    }
  )
  const said = GgufFileType[general(info)['file_type'] as number]?.replace(/^(MOSTLY|ALL)_/, '')
  const most = commonType(info)
  const quantisation = said ?? (most === null ? null : (GgmlType[most] ?? null))
  return { facts: factsOf(info, quantisation), details: () => detailsOf(info) }
}

type Bag = Readonly<Record<string, unknown>>
const bag = (value: unknown): Bag => (typeof value === 'object' && value !== null ? (value as Bag) : {})
const general = (info: GgufFileInfo): Bag => bag(info.metadata.general)
const number = (value: unknown): number | null =>
  typeof value === 'number' || typeof value === 'bigint' ? Number(value) : null
const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** The type of most weights, for files that do not name theirs; null without tensors. */
function commonType(info: GgufFileInfo): number | null {
  const weights = new Map<number, number>()
  for (const tensor of info.fullTensorInfo ?? [])
    weights.set(tensor.ggmlType, (weights.get(tensor.ggmlType) ?? 0) + sizeOf(tensor))
  return [...weights].sort(([, a], [, b]) => b - a)[0]?.[0] ?? null
}

const sizeOf = ({ dimensions }: { readonly dimensions: readonly (number | bigint)[] }): number =>
  dimensions.reduce<number>((n, d) => n * Number(d), 1)

function factsOf(info: GgufFileInfo, quantisation: string | null): HeaderFacts {
  const about = general(info)
  const tensors = info.fullTensorInfo ?? []
  const elements = tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0)
  const architecture = text(about['architecture'])
  const adapter = about['type'] === 'adapter'
  const tokenizer = bag(bag(info.metadata)['tokenizer'])
  const trainable = architecture !== null && TRAINABLE_ARCHITECTURES.includes(architecture) && !adapter
  return {
    kind: adapter ? 'adapter' : 'model',
    architecture,
    name: text(about['name']),
    parameters: number(about['parameter_count']) ?? (elements > 0 ? elements : null),
    quantisation,
    contextLength: number(bag(info.architectureMetadata)['context_length']),
    trainable,
    reason: trainable
      ? `${architecture} trains here`
      : `the architecture "${architecture ?? 'unnamed'}" does not train here; ${TRAINABLE_ARCHITECTURES.join(', ')} do`,
    hasTemplate: text(tokenizer['chat_template']) !== null,
    templateVerdict: templateVerdict(tokenizer),
    needBytes: trainable ? needOf(info) : null
  }
}

function templateVerdict(tokenizer: Bag): string {
  if (text(tokenizer['chat_template']) === null)
    return 'no chat template: answers continue plain text, and it cannot be taught conversations'
  const tokens = bag(tokenizer['ggml'])['tokens']
  const known = Array.isArray(tokens) ? tokens : []
  return known.includes('<think>') && known.includes('</think>')
    ? 'chat template and think tokens'
    : 'chat template, no think tokens: thoughts are spelled out as text; prepare gives it tokens of its own'
}

const RANK = 16
const TOKENS = 2048
const F32 = 4

/** An estimate from sizes alone, activations computed again in the backward. The plan on the train page is exact. */
function needOf(info: GgufFileInfo): number | null {
  const about = bag(info.architectureMetadata)
  const [layers, width, hidden] = [about['block_count'], about['embedding_length'], about['feed_forward_length']].map(
    number
  )
  const tensors = info.fullTensorInfo ?? []
  if (!layers || !width || !hidden || tensors.length === 0) return null
  const starts = tensors.map(({ fileOffset }) => Number(fileOffset)).sort((a, b) => a - b)
  const linears = tensors.filter(({ dimensions, name }) => dimensions.length === 2 && !name.startsWith('token_embd'))
  const weights = Math.max(starts.at(-1)! - starts[0]!, 0) + 4 * Math.max(...tensors.map(sizeOf)) * 0.25
  const transposes = linears.reduce((sum, one) => sum + sizeOf(one), 0) * 1.0625 // Q8_0: 34 bytes for 32 weights
  const vocabulary = Number(tensors.find(({ name }) => name === 'token_embd.weight')?.dimensions[1] ?? 32_000)
  const adapter =
    linears.reduce((sum, { dimensions }) => sum + RANK * (Number(dimensions[0]) + Number(dimensions[1])), 0) * F32
  const rows = ((layers + 3) * width + 8 * width + 4 * hidden) * TOKENS * F32
  return Math.round(weights + transposes + 4 * adapter + rows + 6 * vocabulary * 64 * F32)
}

const SHOWN_ITEMS = 8

async function detailsOf(info: GgufFileInfo): Promise<HeaderDetails> {
  const { GgmlType } = await import('node-llama-cpp')
  const metadata: HeaderDetails['metadata'] = []
  const walk = (value: unknown, key: string): void => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) walk(inner, key === '' ? name : `${key}.${name}`)
    } else metadata.push({ key, value: shown(value) })
  }
  walk(info.metadata, '')
  return {
    metadata,
    tensors: (info.fullTensorInfo ?? []).map(({ name, ggmlType, dimensions }) => ({
      name,
      type: GgmlType[ggmlType] ?? String(ggmlType),
      shape: dimensions.map(Number)
    })),
    chatTemplate: text(bag(bag(info.metadata)['tokenizer'])['chat_template'])
  }
}

function shown(value: unknown): string {
  if (!Array.isArray(value)) return String(value)
  const first = value.slice(0, SHOWN_ITEMS).map(String).join(', ')
  return value.length > SHOWN_ITEMS ? `${value.length} values: ${first}, …` : first
}
