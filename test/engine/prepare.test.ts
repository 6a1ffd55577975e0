/** `reasonsmith prepare`: a derived base in which the stated keys and rows differ from the base, and nothing else. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import {
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { readGgufFileInfo } from 'node-llama-cpp'
import { beforeEach, describe, expect, test } from 'vitest'
import type { RunEvent } from '../../src/shared/event.ts'
import { JOB_INPUTS } from '../../src/shared/worker-contract.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { deriveGguf } from '../../src/main/engine/derived-gguf.ts'
import type { CopyDisk } from '../../src/main/engine/derived-gguf.ts'
import { readGguf } from '../../src/main/engine/gguf.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { perplexityOf } from '../../src/main/engine/perplexity.ts'
import { placeholders, planThinkTokens } from '../../src/main/engine/prepare.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'
import { WeightRows } from '../../src/main/engine/weight-rows.ts'
import { dequantised, readRowBytes, tokenTables } from '../../src/main/engine/token-rows.ts'
import { dialogueOf } from '../../src/main/policy/dialogue.ts'
import { runPrepare } from '../../src/main/training/prepare.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FileType } from './quantised.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const CHATML =
  `{% for message in messages %}{{ '<|bos|>' + message['role'] + ':' + message['content'] + eos_token }}{% endfor %}` +
  `{% if add_generation_prompt %}{{ '<|bos|>assistant:' }}{% endif %}`
const TEMPLATE: Record<string, GgufValue> = { 'tokenizer.chat_template': { kind: 'text', value: CHATML } }
const TYPES = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_K', 'Q6_K', 'Q2_K'] as const satisfies readonly FileType[]
const SHAPES: Readonly<Record<string, readonly [Partial<typeof TINY>, Record<string, GgufValue>]>> = {
  tied: [{ tied: true }, TEMPLATE],
  'no placeholders': [{ vocabulary: 108 }, TEMPLATE],
  'no template': [{}, {}]
}
const made = new Map<string, string>()
let at = ''

/** The path of a base, which is made when it is first asked for. */
function baseOf(name: string): string {
  const known = made.get(name)
  if (known !== undefined) return known
  const backend = openBackend({ threads: 1 })
  const shape = SHAPES[name]
  const path = shape
    ? join(folder, `${name}.gguf`)
    : writeQuantised(backend, folder, name as FileType, 'llama', TEMPLATE)
  if (shape) writeTinyModel(backend, path, { ...TINY, ...shape[0] }, 1, shape[1])
  backend.dispose()
  made.set(name, path)
  return path
}

beforeEach(({ task }) => {
  at = join(folder, task.id)
  mkdirSync(at)
})

type Result = {
  readonly think: { readonly tokens: string; readonly renamed: readonly { id: number; was: string; name: string }[] }
  readonly perplexity: { readonly before: number; readonly after: number }
  readonly lines: readonly string[]
}

async function prepare(
  base: string,
  options: object,
  signal = new AbortController().signal,
  onProgress: () => void = () => undefined
): Promise<Result & { events: RunEvent[]; to: string }> {
  const events: RunEvent[] = []
  const to = join(at, 'to.gguf')
  const text = textFile('the tin man ate an onion')
  const input = JOB_INPUTS.prepare.parse({
    base: base.includes('/') ? base : baseOf(base),
    to,
    threads: 1,
    text,
    ...options
  })
  const emit = (event: RunEvent): void => {
    events.push(event)
    if (event.kind === 'progress' && event.label === 'tensors') onProgress()
  }
  return { ...((await runPrepare(input, { emit, signal, runDir: '' })) as Result), events, to: input.to }
}

type Parsed = Awaited<ReturnType<typeof readGgufFileInfo>>
const parsed = (path: string): Promise<Parsed> =>
  readGgufFileInfo(path, { sourceType: 'filesystem', logWarnings: false })

/** Metadata as dotted keys. */
function flat(value: unknown, key = ''): Map<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return new Map([[key, value]])
  return new Map(
    Object.entries(value).flatMap(([name, inner]) => [...flat(inner, key === '' ? name : `${key}.${name}`)])
  )
}

/** Byte positions of tensor data that differ, by tensor; other bytes of the data (padding) under ''. */
async function differences(one: string, other: string): Promise<{ keys: string[]; bytes: Map<string, number[]> }> {
  const [a, b] = [await parsed(one), await parsed(other)]
  const [before, after] = [flat(a.metadata), flat(b.metadata)]
  const keys = [...new Set([...before.keys(), ...after.keys()])].filter(
    (key) => JSON.stringify(before.get(key)) !== JSON.stringify(after.get(key))
  )
  expect([...after.keys()].slice(0, before.size)).toEqual([...before.keys()])
  const tables = [a, b].map(({ fullTensorInfo }) => fullTensorInfo!.map(({ name, dimensions, ggmlType, offset }) => ({ name, dimensions, ggmlType, offset }))) // prettier-ignore
  expect(tables[1]).toEqual(tables[0])
  const data = [one, other].map((path, i) => {
    const info = i === 0 ? a : b
    return readFileSync(path).subarray(Math.min(...info.fullTensorInfo!.map(({ fileOffset }) => Number(fileOffset))))
  })
  expect(data[1]!.length).toBe(data[0]!.length)
  const starts = a
    .fullTensorInfo!.map(({ name, offset }) => ({ name, offset: Number(offset) }))
    .sort((x, y) => y.offset - x.offset)
  const bytes = new Map<string, number[]>()
  for (let i = 0; i < data[0]!.length; i++) {
    if (data[0]![i] === data[1]![i]) continue
    const { name, offset } = starts.find((tensor) => tensor.offset <= i)!
    if (!bytes.has(name)) bytes.set(name, [])
    bytes.get(name)!.push(i - offset)
  }
  return { keys, bytes }
}

/**
 * Rounding error of a type relative to a row's root mean square: half a step, where the largest of 256 elements is about
 * three times that. A length moves by no more than this, a cosine by its square.
 */
const ROUNDING: Readonly<Record<string, number>> = {
  F32: 2 ** -24,
  tied: 2 ** -24,
  F16: 2 ** -11,
  BF16: 2 ** -9,
  Q8_0: 3 / 254,
  Q6_K: 3 / 64,
  Q4_0: 3 / 16,
  Q4_K: 3 / 16,
  Q2_K: 3 / 4
}

describe.each([...TYPES, 'tied'])('%s', (base) => {
  test('only the stated keys and the two rows differ from the base, byte by byte', async () => {
    const { to, think, perplexity } = await prepare(base, {
      think: true,
      context: 2048
    })
    const { keys, bytes } = await differences(baseOf(base), to)
    expect(keys.sort()).toEqual(
      [
        'llama.context_length',
        'llama.rope.freq_base',
        'reasonsmith.system_message',
        'reasonsmith.think_close',
        'reasonsmith.think_open',
        'tokenizer.chat_template',
        'tokenizer.ggml.token_type',
        'tokenizer.ggml.tokens'
      ].sort()
    )
    const info = await readGguf(to)
    expect([info.number('llama.context_length'), info.number('llama.rope.freq_base')]).toEqual([2048, 20000])
    const ids = think.renamed.map(({ id }) => id)
    const backend = own.backend()
    const tables = tokenTables(backend, info, base === 'tied' ? 'token_embd.weight' : 'output.weight')
    expect([...bytes.keys()].sort()).toEqual(tables.map(({ name }) => name).sort())
    for (const { name, rowBytes } of tables)
      expect(new Set(bytes.get(name)!.map((position) => Math.floor(position / rowBytes))), name).toEqual(new Set(ids))
    const changed = (key: string): number[] => {
      const now = info.list(key)!
      return before.list(key)!.flatMap((value, i) => (value === now[i] ? [] : [i]))
    }
    const before = await readGguf(baseOf(base))
    expect(changed('tokenizer.ggml.tokens')).toEqual(ids)
    expect(changed('tokenizer.ggml.token_type')).toEqual(ids)
    expect(ids.map((id) => info.list('tokenizer.ggml.tokens')![id])).toEqual(['<think>', '</think>'])
    expect(perplexity.after).toBeGreaterThan(1)
  })

  test('the new rows are the mean of the chosen tokens, at the usual length', async () => {
    const backend = own.backend()
    const model = own(await loadModel(baseOf(base), backend))
    const like = 'the man'
    const plan = planThinkTokens(model, [{ name: '<t>', like }], 0)!
    for (const [i, table] of tokenTables(backend, model.info, model.config.head).entries()) {
      const rowsOf = (ids: ArrayLike<number>): Float32Array[] => {
        const all = dequantised(backend, table.type, table.width, readRowBytes(model.info.path, table, ids))
        return Array.from(ids, (_, row) => all.subarray(row * table.width, (row + 1) * table.width))
      }
      const chosen = rowsOf(model.vocabulary.tokenize(like))
      expect(chosen.length).toBeGreaterThan(2)
      const mean = Float32Array.from(
        chosen[0]!,
        (_, k) => chosen.reduce((sum, row) => sum + row[k]!, 0) / chosen.length
      )
      const all = rowsOf(Array.from({ length: table.rows }, (_, row) => row))
      const usual = all.reduce((sum, row) => sum + Math.hypot(...row), 0) / table.rows
      const row = dequantised(backend, table.type, table.width, plan.patches[i]!.bytes)
      const dot = row.reduce((sum, value, k) => sum + value * mean[k]!, 0)
      const error = ROUNDING[base]!
      expect(1 - dot / Math.hypot(...row) / Math.hypot(...mean)).toBeLessThan(error ** 2 + 1e-6)
      expect(Math.abs(Math.hypot(...row) / usual - 1)).toBeLessThan(error + 1e-5)
    }
  })
})

const textFile = (text: string): string => {
  writeFileSync(join(at, 'text.txt'), text)
  return join(at, 'text.txt')
}

describe('what a prepared base says', () => {
  test('its dialogue uses the tokens, spelled as asked, and its own message', async () => {
    const { to } = await prepare('F32', { think: ['[T]', '[/T]'], system_message: 'Mind the gap.' })
    const model = own(await loadModel(to, own.backend()))
    const dialogue = dialogueOf(model.vocabulary)
    expect(dialogue.systemMessage).toBe('Mind the gap.')
    expect(dialogue.tags).toEqual({ open: '[T]', close: '[/T]' })
    const question = [{ role: 'user', content: 'Hm?' }] as const
    const tokens = dialogue.responseTokens(question, 'a thought', 'an answer')
    expect(tokens[0]).toBe(dialogue.thinkIds!.open)
    expect(dialogue.parse(tokens)).toEqual({ kind: 'well-formed', thinking: 'a thought', answer: 'an answer' })
    expect(model.vocabulary.decode(dialogue.promptTokens(question))).toContain('system:Mind the gap.')
  })

  test('a base without free placeholders says so and uses text tags', async () => {
    const { to, think, lines, events } = await prepare('no placeholders', { think: ['<<', '>>'] })
    expect(think).toMatchObject({ tokens: 'text', renamed: [] })
    expect(lines.join('\n')).toMatch(/has 0 unused placeholder tokens, 2 are needed: << and >> are ordinary text/)
    expect(events).toContainEqual(expect.objectContaining({ kind: 'log', level: 'warn' }))
    expect((await differences(baseOf('no placeholders'), to)).bytes).toEqual(new Map())
    const dialogue = dialogueOf(own(await loadModel(to, own.backend())).vocabulary)
    expect(dialogue.thinkIds).toBeNull()
    const tokens = dialogue.responseTokens([{ role: 'user', content: 'Hm?' }], 'hm', 'ok')
    expect(dialogue.parse(tokens)).toEqual({ kind: 'well-formed', thinking: 'hm', answer: 'ok' })
  })

  test('tokens that are there already stay as they are', async () => {
    const once = await prepare('F32', { think: true })
    const again = await prepare(once.to, { think: true, to: join(at, 'again.gguf') })
    expect(again.think.tokens).toBe('present')
    expect((await differences(once.to, again.to)).bytes).toEqual(new Map())
  })

  test('a base without a template is told so', async () => {
    const { lines } = await prepare('no template', { think: true })
    expect(lines.join('\n')).toContain('has no chat template')
  })

  test('a longer context alone doubles RoPE’s base; a shorter one leaves it; a factor is taken as given', async () => {
    const ropeOf = async (options: object): Promise<unknown> => {
      const { to } = await prepare('F32', { ...options, force: true })
      return (await readGguf(to)).number('llama.rope.freq_base')
    }
    expect(await ropeOf({ context: 1024 })).toBe(20000)
    expect(await ropeOf({ context: 128 })).toBe(10000)
    expect(await ropeOf({ context: 1024, rope_factor: 3.5 })).toBe(35000)
    expect(await ropeOf({ rope_factor: 2 })).toBe(20000)
  })
})

test('placeholders in use are none: named by the template, or special', async () => {
  const path = join(at, 'used.gguf')
  writeTinyModel(own.backend(), path, TINY, 1, {
    'tokenizer.chat_template': { kind: 'text', value: CHATML + '{# <|unused_0|> #}' },
    'tokenizer.ggml.padding_token_id': { kind: 'u32', value: 109 }
  })
  const free = placeholders({ info: await readGguf(path) })
  expect(free[0]).toEqual({ id: 110, name: '<|unused_2|>' })
})

test('the perplexity is that of the probabilities the trainer’s reference gives: a uniform model has V', async () => {
  const path = join(at, 'flat.gguf')
  const backend = own.backend()
  writeTinyModel(backend, path, { ...TINY, tied: true })
  const info = await readGguf(path)
  const { offset, ne } = info.tensors.get('token_embd.weight')!
  const file = openSync(path, 'r+')
  writeSync(file, new Uint8Array(ne[0] * ne[1] * 4), 0, ne[0] * ne[1] * 4, offset) // equal rows give equal logits
  fs.closeSync(file)
  const model = own(await loadModel(path, backend))
  const { perplexity, tokens } = await perplexityOf(model, 'the tin man '.repeat(80))
  expect(tokens).toBeGreaterThan(TINY.contextLength) // more than one window
  expect(perplexity).toBeCloseTo(TINY.vocabulary, 3)
})

describe('nothing is left half-written', () => {
  const nothing = (): void => expect(readdirSync(at).filter((name) => name !== 'text.txt')).toEqual([])

  test('a full disk', async () => {
    const base = baseOf('F32')
    const { size } = statSync(base)
    for (const room of [0, 100, size / 2, size - 1]) {
      let written = 0
      const writeSyncOrFail = ((file: number, bytes: Uint8Array, from: number, length: number) => {
        if (written + length > room)
          throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
        written += length
        return writeSync(file, bytes, from, length)
      }) as CopyDisk['writeSync']
      const ended = deriveGguf(
        { from: base, to: join(at, 'to.gguf'), values: {}, patches: [] },
        { ...fs, writeSync: writeSyncOrFail }
      )
      await expect(ended).rejects.toMatchObject({
        code: 'disk',
        message: expect.stringContaining('no space left') as string
      })
      nothing()
    }
  })

  test('a disk with too little room is told before', async () => {
    const statfsSync = (() => ({ bavail: 10, bsize: 4096 })) as unknown as CopyDisk['statfsSync']
    const ended = deriveGguf(
      { from: baseOf('F32'), to: join(at, 'to.gguf'), values: {}, patches: [] },
      { ...fs, statfsSync }
    )
    await expect(ended).rejects.toMatchObject({
      code: 'disk',
      message: expect.stringMatching(/needs \d+ MiB, 0 MiB are free/) as string
    })
    nothing()
  })

  test('a missing folder, a stop, a failing check', async () => {
    await expect(prepare('F32', { think: true, to: join(at, 'no/such/to.gguf') })).rejects.toMatchObject({
      code: 'disk'
    })
    await expect(prepare('F32', { think: true }, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' })
    const check = (): Promise<void> => Promise.reject(new Error('no'))
    await expect(
      deriveGguf({ from: baseOf('F32'), to: join(at, 'to.gguf'), values: {}, patches: [], check })
    ).rejects.toThrow('no')
    nothing()
  })

  test('the base is never written over, by whatever name; another file only with force', async () => {
    const base = join(at, 'base.gguf')
    fs.copyFileSync(baseOf('F32'), base)
    const before = readFileSync(base)
    linkSync(base, join(at, 'hard.gguf'))
    symlinkSync(base, join(at, 'soft.gguf'))
    for (const to of ['base.gguf', 'hard.gguf', 'soft.gguf'])
      await expect(prepare(base, { think: true, to: join(at, to), force: true })).rejects.toMatchObject({
        code: 'usage'
      })
    writeFileSync(join(at, 'to.gguf'), 'precious')
    await expect(prepare(base, { think: true })).rejects.toMatchObject({ code: 'disk' })
    expect(readFileSync(join(at, 'to.gguf'), 'utf8')).toBe('precious')
    await prepare(base, { think: true, force: true })
    expect(readFileSync(base).equals(before)).toBe(true)
  })

  test('a template that damages thoughts is refused in words', async () => {
    const path = join(folder, 'damaging.gguf')
    const value = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
    writeTinyModel(own.backend(), path, TINY, 1, { 'tokenizer.chat_template': { kind: 'text', value } })
    await expect(prepare(path, { think: true })).rejects.toMatchObject({
      code: 'model',
      message: expect.stringContaining('0 opening tags') as string
    })
    nothing()
  })
})

describe('--f32', () => {
  const typesOf = async (path: string): Promise<Set<number>> =>
    new Set([...(await readGguf(path)).tensors.values()].map(({ type }) => type))

  test.each(['F16', 'BF16', 'Q8_0', 'Q4_K'])(
    'a %s base holds the same numbers in F32, and think tokens where asked',
    async (type) => {
      const { to, renamed, lines, perplexity } = await (async () => {
        const made = await prepare(type, { f32: true, think: true })
        return { ...made, renamed: made.think.renamed }
      })()
      expect(await typesOf(to)).toEqual(new Set([TYPE.F32]))
      expect(renamed).toHaveLength(2)
      expect(lines.join('\n')).toContain('every weight is in F32')
      // other kernels round activations otherwise
      expect(Math.abs(perplexity.after / perplexity.before - 1)).toBeLessThan(0.05)
      const backend = own.backend()
      const [from, written] = [await readGguf(baseOf(type)), await readGguf(to)]
      expect(written.number('general.file_type')).toBe(0)
      const [exact, stored] = [own(new WeightRows(backend, from)), own(new WeightRows(backend, written))]
      const rows = renamed.map(({ id }) => id)
      for (const [name, { ne }] of from.tensors) {
        const [one, other] = [exact, stored].map((weights) =>
          Buffer.concat([...weights.read(name, TYPE.F32)].map(({ bytes }) => bytes))
        )
        if (name !== 'token_embd.weight' && name !== 'output.weight') expect(other!.equals(one!), name).toBe(true)
        else {
          const bytes = 4 * ne[0]
          const differing = Array.from({ length: ne[1] }, (_, i) => i).filter(
            (i) => !one!.subarray(i * bytes, (i + 1) * bytes).equals(other!.subarray(i * bytes, (i + 1) * bytes))
          )
          expect(differing, name).toEqual(rows)
        }
      }
      expect(readdirSync(at)).toEqual(expect.not.arrayContaining([expect.stringMatching(/part/)]))
    }
  )

  test('alone it is enough; of an F32 base there is nothing to do', async () => {
    const { to } = await prepare('F16', { f32: true })
    expect(await typesOf(to)).toEqual(new Set([TYPE.F32]))
    await expect(prepare('F32', { f32: true, to: join(at, 'other.gguf') })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('is F32 already') as string
    })
  })

  test('what a killed one left is cleared away, what another is writing is not', async () => {
    const ended = spawnSync(process.execPath, ['-e', '']).pid
    const between = (pid: number): string => `to.gguf.${hostname()}.${pid}.partial`
    for (const pid of [ended, process.ppid]) writeFileSync(join(at, between(pid)), 'F32')
    let during: string[] = []
    await prepare('F16', { f32: true }, undefined, () => void (during = readdirSync(at)))
    expect(during).toContain(between(process.pid)) // so that the next one finds what this one would leave
    expect(readdirSync(at).filter((name) => name.includes('part'))).toEqual([between(process.ppid)])
  })

  test('stopped, it leaves nothing', async () => {
    await expect(prepare('F16', { f32: true }, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' })
    expect(readdirSync(at).filter((name) => name.includes('gguf'))).toEqual([])
  })
})
