/**
 * What answers depend on, as one hash: an evaluation goes on only where all of it is as it was. Adapters are read whole. Of
 * a base up to 64 MiB every byte counts; of a larger one its head (names, shapes and tokenizer), blocks spread evenly over
 * its weights, its size and the time it was last changed. So a larger base that was rewritten in place between those blocks
 * is noticed by its time alone, and one that was copied without its time counts as another.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import type { EvaluateRecipe } from '../../shared/recipe.ts'
import { adapterFiles } from '../engine/peft.ts'

const WHOLE_BYTES = 64 * 2 ** 20
const HEAD_BYTES = 8 * 2 ** 20
const BLOCKS = 64
const BLOCK_BYTES = 64 * 2 ** 10

/** Where the run folder lies is no part of it, and another device only warns. */
export function fingerprintOf(recipe: EvaluateRecipe): string {
  const { output_dir: _, device: __, ...settings } = recipe
  const hash = createHash('sha256').update(JSON.stringify(settings))
  addBase(hash, recipe.base)
  for (const { adapter, base } of recipe.policies) {
    for (const file of adapter === undefined ? [] : adapterFiles(adapter)) hash.update(readFileSync(file))
    if (base !== undefined) addBase(hash, base)
  }
  return hash.digest('hex')
}

function addBase(hash: Hash, path: string): void {
  const file = openSync(path, 'r')
  try {
    const { size, mtimeMs } = fstatSync(file)
    const add = (from: number, bytes: number): void => {
      const block = new Uint8Array(bytes)
      hash.update(block.subarray(0, readSync(file, block, 0, bytes, from)))
    }
    if (size <= WHOLE_BYTES) for (let at = 0; at < size; at += HEAD_BYTES) add(at, HEAD_BYTES)
    else {
      hash.update(JSON.stringify([size, mtimeMs]))
      add(0, HEAD_BYTES)
      const last = size - BLOCK_BYTES
      for (let i = 1; i <= BLOCKS; i++) add(Math.floor(HEAD_BYTES + ((last - HEAD_BYTES) * i) / BLOCKS), BLOCK_BYTES)
    }
  } finally {
    closeSync(file)
  }
}
