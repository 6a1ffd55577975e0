/** Merging and quantising: the written weights against double precision, the files against node-llama-cpp. */
import { execFileSync } from 'node:child_process'
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { compareMerged, contextFor, learnedDifference, policyAnswers } from '../../src/main/engine/agreement.ts'
import type { MergedAgreement } from '../../src/main/engine/agreement.ts'
import { readGguf } from '../../src/main/engine/gguf.ts'
import { quantizeModel, usualMergeType, writeMerged } from '../../src/main/engine/merge.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { openStock } from '../../src/main/engine/stock.ts'
import { elements, readF32, TYPE, write } from '../../src/main/engine/tensor.ts'
import { compareWeights, isMatrix, WeightRows } from '../../src/main/engine/weight-rows.ts'
import type { WeightDifference } from '../../src/main/engine/weight-rows.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FileType } from './quantised.ts'

const own = owner()
const folder = temporaryFolder()
const between = (): Promise<void> => Promise.resolve()
const floats = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer)
const whole = (rows: WeightRows, name: string): Float32Array =>
  Float32Array.from([...rows.read(name, TYPE.F32)].flatMap(({ bytes }) => [...floats(bytes)]))

/** An adapter on the tiny model in this type, about a tenth as strong as the weights. */
async function strongAdapter(type: FileType): Promise<Adapter> {
  const backend = own.backend()
  const model = own(await loadModel(writeQuantised(backend, folder, type), backend))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4, lora_alpha: 8 }), 1))
  for (const { target, b } of adapter.pairs) {
    const random = seeded(2, target)
    write(
      backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.03 * random.normal())
    )
  }
  return adapter
}

/** Base + scale·B·A in double precision, by the definition. */
function exactly(adapter: Adapter, base: Float32Array, target: string): Float64Array {
  const { a, b } = adapter.pairs.find((pair) => pair.target === target)!
  const { backend } = adapter.model
  const [fa, fb, width] = [readF32(backend, a), readF32(backend, b), a.ne[0]]
  return Float64Array.from(base, (value, i) => {
    const [row, column] = [Math.floor(i / width), i % width]
    let sum = 0
    for (let k = 0; k < adapter.r; k++) sum += fb[row * adapter.r + k]! * fa[k * width + column]!
    return value + adapter.scale * sum
  })
}

describe('merged weights', () => {
  test.each(['F32', 'BF16', 'Q4_K'] as const)('of a %s base are base plus scale·B·A, read in pieces', async (type) => {
    const adapter = await strongAdapter(type)
    const { backend, info } = adapter.model
    const plain = own(new WeightRows(backend, info))
    const merged = own(new WeightRows(backend, info, adapter, 1000)) // three rows at once
    for (const target of ['blk.0.attn_q.weight', 'blk.1.ffn_down.weight']) {
      const expected = exactly(adapter, whole(plain, target), target)
      const actual = whole(merged, target)
      expect(actual.length).toBe(expected.length)
      const apart = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0)
      expect(apart).toBeLessThan(1e-6) // weights are about 0.1: a few units of F32
    }
    expect(whole(merged, 'token_embd.weight')).toEqual(whole(plain, 'token_embd.weight'))
  })

  test.each([
    ['F16', 1, TYPE.F16],
    ['BF16', 32, TYPE.BF16],
    ['F32', 0, TYPE.F32]
  ] as const)(
    'written as %s: types, metadata, every weight rounded to the nearest',
    async (type, fileType, ggmlType) => {
      const adapter = await strongAdapter('Q8_0')
      const { backend, info } = adapter.model
      const path = join(folder, `nearest-${type}.gguf`)
      await writeMerged(adapter, path, { type, name: 'tiny + run', between })
      const written = await readGguf(path)
      expect(written.text('general.name')).toBe('tiny + run')
      expect(written.number('general.file_type')).toBe(fileType)
      expect(written.list('tokenizer.ggml.tokens')).toEqual(info.list('tokenizer.ggml.tokens'))
      expect([...written.tensors.keys()]).toEqual([...info.tensors.keys()])
      for (const [name, tensor] of written.tensors)
        expect(tensor.type, name).toBe(isMatrix(tensor) ? ggmlType : TYPE.F32)
      const [exact, stored] = [own(new WeightRows(backend, info, adapter)), own(new WeightRows(backend, written))]
      const round = { F16: (x: number) => Math.f16round(x), BF16: bf16Round, F32: Math.fround }[type]
      for (const name of ['blk.0.attn_k.weight', 'output.weight', 'output_norm.weight']) {
        const expected = whole(exact, name)
        expect(whole(stored, name), name).toEqual(name.endsWith('norm.weight') ? expected : expected.map(round))
      }
    }
  )

  test('weights beyond F16 are refused, nothing is left behind', async () => {
    const adapter = await strongAdapter('F32')
    const { backend } = adapter.model
    const { b } = adapter.pairs[3]!
    write(backend, b, readF32(backend, b).fill(1e7))
    const path = join(folder, 'beyond.gguf')
    await expect(writeMerged(adapter, path, { type: 'F16', name: 'x', between })).rejects.toThrow(/F16 cannot hold/)
    expect(existsSync(path)).toBe(false)
    await writeMerged(adapter, path, { type: 'BF16', name: 'x', between })
    expect(existsSync(path)).toBe(true)
  })

  test('stopping leaves nothing', async () => {
    const adapter = await strongAdapter('F32')
    const path = join(folder, 'stopped.gguf')
    const stop = (done: number): Promise<void> => (done > 5 ? Promise.reject(new Error('stopped')) : Promise.resolve())
    await expect(writeMerged(adapter, path, { type: 'F16', name: 'x', between: stop })).rejects.toThrow()
    expect(existsSync(path)).toBe(false)
  })

  test('a BF16 base is merged in BF16, others in F16', async () => {
    expect(usualMergeType(await strongAdapter('BF16'))).toBe('BF16')
    expect(usualMergeType(await strongAdapter('Q4_0'))).toBe('F16')
  })
})

/** To nearest, ties to even. */
function bf16Round(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)
  bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000
  return new Float32Array(bits.buffer)[0]!
}

/** A disk that fills up, as a limit on the size of files: both our own writes and llama.cpp's fail half way. */
test.skipIf(process.platform === 'win32')('a full disk leaves neither a merged nor a quantised file', async () => {
  const adapter = await strongAdapter('F32')
  const into = join(folder, 'full')
  mkdirSync(into)
  copyFileSync(adapter.model.info.path, join(into, 'base.gguf'))
  await writeMerged(adapter, join(into, 'merged.gguf'), { type: 'F16', name: 'x', between }) // 2.6 MB, 1.4 MB as Q8_0
  const script = join(import.meta.dirname, 'full-disk.fixture.ts')
  const limited = `ulimit -f 800; exec "$0" "$@"` // 400 or 800 KiB, as the shell counts blocks
  const out = execFileSync('/bin/sh', ['-c', limited, process.execPath, script, into], { encoding: 'utf8' })
  expect(JSON.parse(out)).toEqual({ merged: 'disk', quantised: 'disk', left: ['base.gguf', 'merged.gguf'] })
})

describe('files, loaded again', () => {
  const prompts = [0, 1, 2].map((i) => Int32Array.from({ length: 12 }, (_, k) => 5 + ((k * (i + 3) + i) % 90)))

  /** What the export job compares, of one file. */
  async function compared(
    adapter: Adapter,
    path: string,
    strict: boolean
  ): Promise<{ weights: WeightDifference; agreement: MergedAgreement }> {
    const { backend, info, config } = adapter.model
    const answers = await policyAnswers(adapter.model, adapter, prompts, 32)
    const stock = await openStock({ contextTokens: contextFor(prompts, 32), threads: 1 })
    try {
      const written = await readGguf(path)
      const types = (it: typeof info): number[] => [...it.tensors.values()].filter(isMatrix).map(({ type }) => type)
      const [exact, stored] = [own(new WeightRows(backend, info, adapter)), own(new WeightRows(backend, written))]
      const weights = await compareWeights(exact, stored, between)
      const rounding = {
        weights: weights.relative,
        types: types(written),
        baseTypes: types(info),
        depth: config.layers * 7 + 1
      }
      return { weights, agreement: await compareMerged(stock, answers, path, rounding, strict) }
    } finally {
      await stock.dispose()
    }
  }

  test.each(['F32', 'Q4_1'] as const)('a %s base, merged in F32: no rounding but that of activations', async (base) => {
    const adapter = await strongAdapter(base)
    const path = join(folder, `in-f32-${base}.gguf`)
    await writeMerged(adapter, path, { type: 'F32', name: 'x', between })
    const { weights, agreement } = await compared(adapter, path, true)
    expect(weights.relative).toBe(0)
    expect(agreement.agrees).toBe(true)
    expect(agreement.meanKl).toBeLessThan(base === 'F32' ? 1e-6 : 2e-3)
  })

  test('F16 and what is quantised from it are within what their rounding explains; fewer bits are farther', async () => {
    const adapter = await strongAdapter('F16')
    const f16 = join(folder, 'f16.gguf')
    await writeMerged(adapter, f16, { type: 'F16', name: 'x', between })
    const found = [await compared(adapter, f16, true)]
    for (const type of ['Q8_0', 'Q6_K', 'Q4_K_M', 'Q2_K'] as const) {
      const path = join(folder, `${type}-file.gguf`)
      await quantizeModel(adapter.model.backend, f16, path, type)
      found.push(await compared(adapter, path, false))
    }
    for (const { agreement } of found) expect(agreement.agrees).toBe(true)
    const kl = found.map(({ agreement }) => agreement.meanKl)
    console.log('mean KL of F16, Q8_0, Q6_K, Q4_K_M, Q2_K:', kl.map((it) => it.toExponential(1)).join(', '))
    expect(kl.toSorted((a, b) => a - b)).toEqual(kl)
    expect(found[0]!.agreement.sameTokens).toBe(96)
    expect(found[0]!.agreement.carried).toBeCloseTo(1, 2)
  })

  test('a base that was merged with nothing is noticed by its weights and by its logits', async () => {
    const adapter = await strongAdapter('F32')
    const path = join(folder, 'unmerged.gguf')
    copyFileSync(adapter.model.info.path, path)
    await expect(compared(adapter, path, true)).rejects.toMatchObject({ code: 'export' })
    const answers = await policyAnswers(adapter.model, adapter, prompts, 32)
    const stock = await openStock({ contextTokens: contextFor(prompts, 32), threads: 1 })
    const rounding = { weights: 2e-4, types: [TYPE.F16], baseTypes: [TYPE.F32], depth: 15 }
    const { agrees, meanKl, carried } = await compareMerged(stock, answers, path, rounding, true).finally(() =>
      stock.dispose()
    )
    expect(agrees).toBe(false)
    expect(carried).toBeCloseTo(0, 2)
    expect(meanKl).toBeCloseTo(learnedDifference(answers).meanKl, 4)
  })

  test('a damaged weight is noticed', async () => {
    const adapter = await strongAdapter('F32')
    const path = join(folder, 'damaged.gguf')
    await writeMerged(adapter, path, { type: 'F16', name: 'x', between })
    const { offset } = (await readGguf(path)).tensors.get('blk.1.ffn_up.weight')!
    const file = openSync(path, 'r+')
    writeSync(file, Uint8Array.of(0x00, 0x44), 0, 2, offset + 4000) // one weight becomes 4
    closeSync(file)
    await expect(compared(adapter, path, true)).rejects.toThrow(/blk\.1\.ffn_up\.weight differs/)
  })
})
