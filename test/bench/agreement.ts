/**
 * How far the training forward is from `llama_decode`, for every architecture and every type a base may have, on small random
 * models with an adapter. Prints the tables of docs/benchmarks/agreement.md; asserts nothing (test/engine does).
 *
 *   node test/bench/agreement.ts [--types Q4_K,IQ2_S]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { TYPE, WEIGHT_TYPES } from '../../src/main/engine/tensor.ts'
import { comparer, randomAdapter, randomSequence } from '../engine/decode-comparer.ts'
import type { Apart } from '../engine/decode-comparer.ts'
import { FAMILIES } from '../engine/tiny-families.ts'
import type { FamilyName, TinyFamily } from '../engine/tiny-families.ts'
import { writeQuantised } from '../engine/quantised.ts'
import type { TypeName } from '../../src/main/engine/tensor.ts'

const COLUMNS: readonly FamilyName[] = ['llama', 'qwen2', 'qwen3', 'Phi-4', 'gemma3, a window in every layer but one']
/** With an adapter nothing is zero any more. */
const ALL = (Object.keys(FAMILIES) as FamilyName[]).filter((name) => !('zero' in FAMILIES[name]))
const SHORT = Array.from({ length: 16 }, (_, i) => [3, i] as const)

type Measured = { readonly short: number; readonly exact: Apart; readonly sampled: Apart }

async function measure(backend: Backend, folder: string, name: FamilyName, type: TypeName): Promise<Measured> {
  const family: TinyFamily = FAMILIES[name]
  const path = writeQuantised(backend, folder, type, name)
  const model = await loadModel(path, backend)
  const adapter = await randomAdapter(model)
  const it = comparer(model, adapter, true, { contextTokens: family.contextTokens ?? 256 })
  const sequence = (length: number, seed: number): ReturnType<typeof randomSequence> =>
    randomSequence(length, seed, model.config.vocabulary)
  const short = it
    .compare(
      SHORT.map(([length, seed]) => sequence(length, seed)),
      {}
    )
    .map(({ most }) => most)
    .sort((a, b) => a - b)
  const [exact] = it.compare([sequence(48, 100)], {})
  const [sampled] = it.compare([sequence(48, 100)], { cache: TYPE.F16 })
  it.dispose()
  adapter.dispose()
  model.dispose()
  rmSync(path)
  return { short: short[short.length / 2]!, exact: exact!, sampled: sampled! }
}

const shown = (value: number): string => value.toExponential(0)
const pair = ({ mean, most }: Apart): string => `${shown(mean)} / ${shown(most)}`

const { types } = parseArgs({ options: { types: { type: 'string' } } }).values
const chosen = WEIGHT_TYPES.filter((type) => types?.split(',').includes(type) ?? true)
const backend = openBackend({ threads: 1 })
const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-agreement-'))
try {
  console.log(
    '| type | model | short | F32 cache, mean / largest | F16 cache, mean / largest |\n| --- | --- | --- | --- | --- |'
  )
  for (const type of chosen) {
    for (const name of type === 'F32' ? ALL : COLUMNS) {
      const { short, exact, sampled } = await measure(backend, folder, name, type)
      console.log(`| ${type} | ${name} | ${shown(short)} | ${pair(exact)} | ${pair(sampled)} |`)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
  backend.dispose()
}
