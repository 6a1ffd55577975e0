/**
 * Think tokens for a base that has none: two placeholder tokens that training never used are renamed, as the report did with
 * Phi-4's, and get rows of their own. What changes in the file is planned here and written by `derived-gguf.ts`.
 */
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import type { Backend } from './backend.ts'
import { deriveGguf } from './derived-gguf.ts'
import type { BytePatch } from './derived-gguf.ts'
import type { GgufInfo } from './gguf.ts'
import type { GgufValue } from './gguf-writer.ts'
import { loadModel } from './model.ts'
import type { Model } from './model.ts'
import { dequantised, quantised, readRowBytes, tokenTables } from './token-rows.ts'
import type { TokenTable } from './token-rows.ts'

/**
 * Names under which families keep unused entries: Phi-4's `<|dummy_0|>`, Phi-3's `<|placeholder1|>`, Llama 3's
 * `<|reserved_special_token_0|>`, Gemma's `<unused0>`, BERT's `[unused1]`, Mistral's `[control_8]` and `<SPECIAL_20>`, Qwen's
 * `<|extra_0|>`, and `[PAD151936]`, by which llama.cpp's converter fills up a table with more rows than tokens.
 */
const PLACEHOLDER =
  /^(<\|?dummy_\d+\|?>|<\|placeholder_?\d+\|>|<\|reserved_(special_)?token_\d+\|>|<\|?unused_?\d+\|?>|\[unused\d+\]|\[control_\d+\]|<SPECIAL_\d+>|<\|extra_\d+\|>|\[PAD\d+\])$/

/** Special tokens by their metadata keys: a placeholder that serves as one of these is in use. */
const SPECIAL_KEYS = ['bos', 'eos', 'eot', 'eom', 'unknown', 'seperator', 'padding', 'mask', 'cls', 'fim_pre', 'fim_suf', 'fim_mid', 'fim_pad'] // prettier-ignore

/** llama.h, llama_token_type: shown in output and found in text. */
const USER_DEFINED = 4

export type ThinkToken = {
  readonly name: string
  /** Its rows start near the mean of this text's tokens. */
  readonly like: string
}
export const THINK_TOKENS: readonly ThinkToken[] = [
  { name: '<think>', like: 'think' },
  { name: '</think>', like: 'answer' }
]

/**
 * How long a new row's own random direction is beside the mean's. 0 is the mean alone, which leaves two new rows among
 * those they came from: a short LoRA run could not tell them apart.
 */
export const ROW_SPREAD = 1

export type Renamed = { readonly id: number; readonly was: string; readonly name: string }

export type ThinkTokensPlan = {
  readonly renamed: readonly Renamed[]
  readonly values: Readonly<Record<string, GgufValue>>
  /** The new rows, where they lie in the base's file. */
  readonly patches: readonly BytePatch[]
}

const tokenNames = (info: GgufInfo): string[] => (info.list('tokenizer.ggml.tokens') ?? []).map(String)

/** Placeholder tokens of a base by id, that its chat template never mentions and that serve as nothing special. */
export function placeholders({ info }: Pick<Model, 'info'>): { id: number; name: string }[] {
  const template = info.text('tokenizer.chat_template') ?? ''
  const special = new Set(SPECIAL_KEYS.map((key) => info.number(`tokenizer.ggml.${key}_token_id`)))
  return tokenNames(info).flatMap((name, id) =>
    PLACEHOLDER.test(name) && !template.includes(name) && !special.has(id) ? [{ id, name }] : []
  )
}

/** Which placeholders become which tokens, and what that changes. Null when too few are free: tags are then ordinary text. */
export function planThinkTokens(
  model: Model,
  tokens: readonly ThinkToken[] = THINK_TOKENS,
  spread = ROW_SPREAD
): ThinkTokensPlan | null {
  const { info, backend } = model
  const free = placeholders(model)
  if (free.length < tokens.length) return null
  const names = tokenNames(info)
  const types = (info.list('tokenizer.ggml.token_type') ?? names.map(() => 1)).map(Number)
  const tables = tokenTables(backend, info, model.config.head)
  const patches: BytePatch[] = []
  const renamed = tokens.map(({ name, like }, i) => {
    const { id, name: was } = free[i]!
    names[id] = name
    types[id] = USER_DEFINED
    for (const table of tables) {
      const row = newRow(model, table, id, model.vocabulary.tokenize(like), spread, patches)
      patches.push({ offset: table.offset + id * table.rowBytes, bytes: quantised(backend, table.type, row) })
    }
    return { id, was, name }
  })
  return {
    renamed,
    values: {
      'tokenizer.ggml.tokens': { kind: 'texts', value: names },
      'tokenizer.ggml.token_type': { kind: 'i32s', value: types }
    },
    patches
  }
}

/**
 * Writes a copy of `base` to `to` in which placeholders have become `tokens`. Returns which. Throws AppError('model') when
 * too few placeholders are free.
 */
export async function repurposePlaceholders(
  base: string,
  to: string,
  backend: Backend,
  tokens: readonly ThinkToken[] = THINK_TOKENS
): Promise<readonly Renamed[]> {
  const model = await loadModel(base, backend)
  try {
    const plan = planThinkTokens(model, tokens)
    if (!plan) {
      throw new AppError(
        'model',
        `${base}: ${placeholders(model).length} of ${tokens.length} placeholder tokens are free`,
        'Ordinary text tags are used with such a base.'
      )
    }
    await deriveGguf({ from: base, to, values: plan.values, patches: plan.patches, force: true })
    return plan.renamed
  } finally {
    model.dispose()
  }
}

/** Rows looked at to learn how long rows are on average. */
const NORM_SAMPLE = 256

/**
 * The row of token `id`: the mean direction of other rows, and beside it a direction of its own (seeded) of `spread` times
 * that length, at the length rows have on average. Rows planned before count as they will be.
 */
function newRow(
  model: Model,
  table: TokenTable,
  id: number,
  like: Int32Array,
  spread: number,
  planned: readonly BytePatch[]
): Float32Array {
  const { width, rows } = table
  const count = Math.min(NORM_SAMPLE, rows)
  const sampled = Int32Array.from({ length: count }, (_, i) => Math.floor((i * rows) / count))
  const norm = (row: Float32Array): number => Math.hypot(...row)
  const rowsOf = (ids: Int32Array): Float32Array[] => {
    const bytes = readRowBytes(model.info.path, table, ids)
    ids.forEach((token, i) => {
      const own = planned.find(({ offset }) => offset === table.offset + token * table.rowBytes)
      if (own) bytes.set(own.bytes, i * table.rowBytes)
    })
    const all = dequantised(model.backend, table.type, width, bytes)
    return Array.from(ids, (_, i) => all.subarray(i * width, (i + 1) * width))
  }
  const usual = rowsOf(sampled).reduce((sum, row) => sum + norm(row), 0) / count
  const unit = (row: Float32Array): Float32Array => row.map((value) => value / (norm(row) || 1))
  const mean = new Float32Array(width)
  for (const other of rowsOf(like)) other.forEach((value, i) => (mean[i] = mean[i]! + value))
  const random = seeded('think token', id)
  const own = unit(Float32Array.from({ length: width }, () => random.normal()))
  return unit(unit(mean).map((value, i) => value + spread * own[i]!)).map((value) => value * usual)
}
