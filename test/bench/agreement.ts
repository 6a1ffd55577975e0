/**
 * How far the training forward is from `llama_decode`, for every architecture and every type a base may have, on small random
 * models with an adapter. Prints the tables of docs/benchmarks/agreement.md; asserts nothing (test/engine does).
 *
 *   node test/bench/agreement.ts
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

const COLUMNS: readonly FamilyName[] = ['llama', 'qwen2', 'qwen3', 'Phi-4', 'gemma3']
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

const shown = (value: number): string => value.toExponential(0).replace('e+0', '')
const pair = ({ mean, most }: Apart): string => `${shown(mean)} / ${shown(most)}`
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')

const backend = openBackend({ threads: 1 })
const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-agreement-'))
try {
  const families: string[][] = []
  for (const name of Object.keys(FAMILIES) as FamilyName[]) {
    const { short, exact } = await measure(backend, folder, name, 'F32')
    families.push([name, shown(short), pair(exact)])
  }
  console.log(table(['family, F32', 'short', 'long'], families), '\n')
  const byType: { type: TypeName; cells: Measured[] }[] = []
  for (const type of WEIGHT_TYPES) {
    const cells: Measured[] = []
    for (const name of COLUMNS) cells.push(await measure(backend, folder, name, type))
    byType.push({ type, cells })
    process.stderr.write(`${type} `)
  }
  const types = (cell: (m: Measured) => string): string =>
    table(
      ['type', ...COLUMNS],
      byType.map(({ type, cells }) => [type, ...cells.map(cell)])
    )
  console.log(
    types(({ short }) => shown(short)),
    '\n'
  )
  console.log(
    types(({ exact }) => pair(exact)),
    '\n'
  )
  console.log(types(({ sampled }) => pair(sampled)))
} finally {
  rmSync(folder, { recursive: true, force: true })
  backend.dispose()
}
