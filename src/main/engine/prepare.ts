/**
 * A derived base with think tokens: two placeholder tokens that training never used are renamed, as the report did with
 * Phi-4's. Only the vocabulary's metadata and those two rows differ from the base.
 */
import { AppError } from '../../shared/errors.ts'
import type { Backend } from './backend.ts'
import { writeGguf } from './gguf-writer.ts'
import { loadModel } from './model.ts'
import type { Model } from './model.ts'
import { contiguousStrides, elements, readF32, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** Names under which families keep unused entries: Phi-4's `<|dummy_0|>`, `<|reserved_special_token_0|>`, `[unused1]`, `<unused0>`. */
const PLACEHOLDER = /^(<\|?dummy_\d+\|?>|<\|reserved_(special_)?token_\d+\|>|\[unused\d+\]|<unused_?\d+>)$/

/** llama.h, llama_token_type: shown in output and found in text. */
const USER_DEFINED = 4

export type ThinkToken = {
  readonly name: string
  /** Its rows start as the mean of this text's tokens. */ readonly like: string
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
 * Writes a copy of `base` to `to` in which placeholders have become `tokens`. Returns which. Needs F32 embedding rows to set
 * new values. Throws AppError('model') when too few placeholders are free.
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

/** Sets row `id` of a table [d, V] to the mean of other rows, at the length rows have on average. */
function setRow(model: Model, table: Tensor, id: number, like: Int32Array): void {
  const { backend } = model
  if (table.type !== TYPE.F32)
    throw new AppError('model', `${model.info.path}: its embedding is not F32`, 'Convert the base to F32 first.')
  const d = table.ne[0]
  const all = readF32(backend, table)
  const row = new Float32Array(d)
  for (const token of like) for (let i = 0; i < d; i++) row[i] = row[i]! + all[token * d + i]!
  const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
  const usual = norm(all) / Math.sqrt(elements(table) / d)
  const factor = usual / (norm(row) || 1)
  all.set(row.map((value) => value * factor), id * d) // prettier-ignore
  write(backend, { ...table, nb: contiguousStrides(backend.native, TYPE.F32, table.ne) }, all)
}
