/**
 * A derived base with think tokens: two placeholder tokens that training never used are renamed, as the report did with
 * Phi-4's. Only the vocabulary's metadata and those two rows differ from the base.
 */
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import type { Backend } from './backend.ts'
import { writeGguf } from './gguf-writer.ts'
import { loadModel } from './model.ts'
import type { Model } from './model.ts'
import { Graph, GraphAllocator } from './graph.ts'
import { readF32, rowBytes, TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** Names under which families keep unused entries: Phi-4's `<|dummy_0|>`, `<|reserved_special_token_0|>`, `[unused1]`, `<unused0>`. */
const PLACEHOLDER = /^(<\|?dummy_\d+\|?>|<\|reserved_(special_)?token_\d+\|>|\[unused\d+\]|<unused_?\d+>)$/

/** llama.h, llama_token_type: shown in output and found in text. */
const USER_DEFINED = 4

export type ThinkToken = {
  readonly name: string
  /** Its rows start near the mean of this text's tokens. */ readonly like: string
}
export const THINK_TOKENS: readonly ThinkToken[] = [
  { name: '<think>', like: 'think' },
  { name: '</think>', like: 'answer' }
]

/** Placeholder tokens of a base by id, that its chat template never mentions. */
export function placeholders(model: Model): { id: number; name: string }[] {
  const template = model.info.text('tokenizer.chat_template') ?? ''
  return tokenNames(model).flatMap((name, id) =>
    PLACEHOLDER.test(name) && !template.includes(name) ? [{ id, name }] : []
  )
}

function tokenNames(model: Model): string[] {
  return (model.info.list('tokenizer.ggml.tokens') ?? []).map(String)
}

/**
 * Writes a copy of `base` to `to` in which placeholders have become `tokens`. Returns which. Throws AppError('model') when too few placeholders are free.
 */
export async function repurposePlaceholders(
  base: string,
  to: string,
  backend: Backend,
  tokens: readonly ThinkToken[] = THINK_TOKENS
): Promise<readonly { id: number; was: string; name: string }[]> {
  const model = await loadModel(base, backend, { writable: true })
  try {
    const free = placeholders(model)
    if (free.length < tokens.length) {
      throw new AppError(
        'model',
        `${base}: ${free.length} of ${tokens.length} placeholder tokens are free`,
        'Ordinary text tags are used with such a base.'
      )
    }
    const names = tokenNames(model)
    const types = (model.info.list('tokenizer.ggml.token_type') ?? []).map(Number)
    const renamed = tokens.map(({ name, like }, i) => {
      const { id, name: was } = free[i]!
      names[id] = name
      types[id] = USER_DEFINED
      for (const table of new Set(['token_embd.weight', model.config.head]))
        setRow(model, model.weight(table), id, model.vocabulary.tokenize(like))
      return { id, was, name }
    })
    writeGguf(backend, to, {
      metadataFrom: base,
      values: {
        'tokenizer.ggml.tokens': { kind: 'texts', value: names },
        'tokenizer.ggml.token_type': { kind: 'i32s', value: types }
      },
      tensors: [...model.info.tensors.keys()].map((name) => ({ name, tensor: model.weight(name) }))
    })
    return renamed
  } finally {
    model.dispose()
  }
}

/** Rows looked at to learn how long rows are on average. */
const NORM_SAMPLE = 256

/**
 * Sets row `id` of a table [d, V] of any type: half the mean of other rows, half a direction of its own (seeded), at the
 * length rows have on average. The mean alone would leave it among the rows it came from, or among those of tokens that
 * were never trained, and a short LoRA run could not tell it from them.
 */
function setRow(model: Model, table: Tensor, id: number, like: Int32Array): void {
  const { backend } = model
  const [d, vocabulary] = table.ne
  const count = Math.min(NORM_SAMPLE, vocabulary)
  const sampled = Int32Array.from({ length: count }, (_, i) => Math.floor((i * vocabulary) / count))
  const norm = (row: Float32Array): number => Math.hypot(...row)
  const rowsOf = (ids: Int32Array): Float32Array[] => {
    const all = rowsAsF32(model, table, ids)
    return Array.from(ids, (_, i) => all.subarray(i * d, (i + 1) * d))
  }
  const usual = rowsOf(sampled).reduce((sum, row) => sum + norm(row), 0) / count
  const unit = (row: Float32Array): Float32Array => row.map((value) => value / (norm(row) || 1))
  const mean = new Float32Array(d)
  for (const other of rowsOf(like)) other.forEach((value, i) => (mean[i] = mean[i]! + value))
  const random = seeded('think token', id)
  const own = unit(Float32Array.from({ length: d }, () => random.normal()))
  const scaled = unit(unit(mean).map((value, i) => value + own[i]!)).map((value) => value * usual)
  const bytes = new Uint8Array(rowBytes(backend.native, table.type, d))
  backend.native.ggml.quantize_chunk(table.type, scaled, bytes, 0, 1, d, null) // any type, floats included
  backend.native.ggml.backend_tensor_set(table.ptr, bytes, id * bytes.length, bytes.length)
}

/** Rows of a table, dequantised: F32, one after another. */
function rowsAsF32(model: Model, table: Tensor, ids: Int32Array): Float32Array {
  const { backend } = model
  const pool = new TensorPool(backend, 2)
  const rows = pool.add(TYPE.I32, ids.length)
  const out = pool.add(TYPE.F32, table.ne[0], ids.length)
  pool.allocate()
  write(backend, rows, ids)
  const graph = new Graph(backend, 4)
  graph.run(graph.place(graph.getRows(table, rows), { tensor: out, pool }))
  const allocator = new GraphAllocator(backend)
  try {
    allocator.allocate(graph)
    graph.compute()
    return readF32(backend, out)
  } finally {
    allocator.dispose()
    graph.dispose()
    pool.dispose()
  }
}
