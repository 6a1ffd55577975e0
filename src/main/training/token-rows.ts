/**
 * Trained token rows between runs: which tokens a recipe means, what a run keeps of them, and the base that carries them,
 * since no adapter file can.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { LoraSettings } from '../../shared/recipe.ts'
import type { Backend } from '../engine/backend.ts'
import { deriveGguf } from '../engine/derived-gguf.ts'
import { loadModel } from '../engine/model.ts'
import { TrainedRows } from '../engine/trained-rows.ts'
import type { Vocabulary } from '../engine/vocabulary.ts'
import { writeWholeFile } from '../files/whole-file.ts'

/** Their F32 values, beside an adapter or in a checkpoint. */
export const ROWS_FILE = 'token_rows.bin'
/** The base with these rows, beside the adapter that was trained with them. */
export const ROWS_BASE = 'base.gguf'

/** Ids of `trainable_token_indices`. Throws AppError('recipe') for a name that is no single token of this base. */
export function tokenIndicesOf(vocabulary: Vocabulary, { trainable_token_indices: given }: LoraSettings): number[] {
  return given.map((token) => {
    if (typeof token === 'number') return token
    const id = vocabulary.specialToken(token)
    if (id !== null) return id
    throw new AppError(
      'recipe',
      `lora.trainable_token_indices: ${token} is no token of this base`,
      'Give it one: reasonsmith prepare base.gguf --think.'
    )
  })
}

/** Writes values and base into a folder. Returns what to tell a person. */
export async function saveRows(rows: TrainedRows | null, base: string, folder: string): Promise<string[]> {
  if (!rows) return []
  const to = join(folder, ROWS_BASE)
  writeWholeFile(join(folder, ROWS_FILE), (temporary) => writeFileSync(temporary, rows.dump()))
  await deriveGguf({ from: base, to, values: {}, patches: rows.patches(), force: true })
  return [`base with the trained rows of ${rows.ids.length} tokens: ${to}; the adapter belongs to it`]
}

/** Writes the base that belongs to the adapter in `folder` to `to`. Throws AppError('model') when its rows are missing. */
export async function deriveBase(
  base: string,
  lora: LoraSettings,
  folder: string,
  to: string,
  backend: Backend
): Promise<void> {
  const model = await loadModel(base, backend, { writable: true })
  try {
    const rows = new TrainedRows(model, tokenIndicesOf(model.vocabulary, lora))
    try {
      rows.restore(readRows(folder))
      await deriveGguf({ from: base, to, values: {}, patches: rows.patches() })
    } finally {
      rows.dispose()
    }
  } finally {
    model.dispose()
  }
}

function readRows(folder: string): Uint8Array {
  try {
    return readFileSync(join(folder, ROWS_FILE))
  } catch (cause) {
    throw new AppError(
      'model',
      `${join(folder, ROWS_FILE)}: the trained rows are missing`,
      'Train again, or restore the file.',
      { cause }
    )
  }
}
