import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openRunLog, readRunLog } from '../../../src/main/training/run-log.ts'
import { crc32c, maskedCrc32c, record, scalarsRecord, versionRecord } from '../../../src/main/training/tensorboard.ts'
import { AppError } from '../../../src/shared/errors.ts'
import type { RunEvent } from '../../../src/shared/event.ts'
import { failingDisk } from './disk.fake.ts'

let folder: string
beforeEach(() => (folder = fs.mkdtempSync(join(tmpdir(), 'run-log-test-'))))
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

const now = (): number => 1_750_000_000_500
const step = (n: number, metrics: Record<string, number> = { loss: 1 / n }): RunEvent => ({
  kind: 'step',
  step: n,
  of: 5,
  metrics
})
const lines = (): string => fs.readFileSync(join(folder, 'events.jsonl'), 'utf8')
const board = (): Buffer => {
  const files = fs.readdirSync(join(folder, 'tensorboard'))
  expect(files).toEqual(['events.out.tfevents.1750000000.reasonsmith'])
  return fs.readFileSync(join(folder, 'tensorboard', files[0]!))
}

test('lines stand in the file as they happen; momentary events do not', () => {
  const log = openRunLog(folder, { now })
  log.emit({ kind: 'phase', name: 'train' })
  log.emit({ kind: 'progress', label: 'tokens', done: 1, of: 2 })
  log.emit({ kind: 'text', part: 'thinking', text: 'hm' })
  log.emit(step(1))
  expect(lines()).toBe(
    '{"time":1750000000500,"kind":"phase","name":"train"}\n{"time":1750000000500,"kind":"step","step":1,"of":5,"metrics":{"loss":1}}\n'
  )
  expect(log.mark()).toBe(lines().length)
  log.close()
  expect(readRunLog(folder)).toEqual([
    { time: now(), kind: 'phase', name: 'train' },
    { time: now(), ...step(1) }
  ])
})

test('numbers that JSON has not are left out and reported', () => {
  const reported: string[] = []
  const log = openRunLog(folder, { now, report: (text) => reported.push(text) })
  log.emit(step(3, { loss: NaN, kl: 0.5, grad_norm: Infinity }))
  log.close()
  expect(readRunLog(folder).map(({ time: _, ...event }) => event)).toEqual([
    step(3, { kl: 0.5 }),
    { kind: 'log', level: 'warn', text: 'step 3: not a finite number, left out: loss (NaN), grad_norm (Infinity)' }
  ])
  expect(reported).toEqual(['step 3: not a finite number, left out: loss (NaN), grad_norm (Infinity)'])
})

/** Steps 1..to, each followed by an evaluation; calls `before` ahead of the given step. */
function play(log: ReturnType<typeof openRunLog>, from: number, to: number): void {
  for (let n = from; n <= to; n++) {
    log.emit(step(n))
    log.emit({ kind: 'evaluation', step: n, metrics: { accuracy: n / 10 } })
  }
}

test.each(['bytes', 'step'] as const)('a resumed log equals an uninterrupted one, cut by %s', (by) => {
  const uninterrupted = openRunLog(folder, { now })
  play(uninterrupted, 1, 5)
  uninterrupted.close()
  const expected = { lines: lines(), board: board() }

  const killed = openRunLog(folder, { now })
  play(killed, 1, 2)
  const bytes = killed.mark()
  play(killed, 3, 3)
  killed.close()
  fs.appendFileSync(join(folder, 'events.jsonl'), '{"time":17500')
  expect(readRunLog(folder)).toHaveLength(6)

  const resumed = openRunLog(folder, { now, resume: by === 'bytes' ? { bytes } : { step: 2 } })
  play(resumed, 3, 5)
  resumed.close()
  expect(lines()).toBe(expected.lines)
  expect(board()).toEqual(expected.board)
})

test('a log shorter than its checkpoint says is refused', () => {
  openRunLog(folder, { now }).close()
  expect(() => openRunLog(folder, { resume: { bytes: 10 } })).toThrow(AppError)
})

test('a foreign line is named', () => {
  fs.writeFileSync(join(folder, 'events.jsonl'), '{}\nnonsense\n')
  expect(() => readRunLog(folder)).toThrow('line 2: not JSON')
})

test('a full disk is one clear error and leaves whole lines', () => {
  for (let nth = 1; ; nth++) {
    const { disk, calls } = failingDisk(nth)
    let failure: unknown
    try {
      const log = openRunLog(folder, { now, disk })
      play(log, 1, 2)
      log.mark()
    } catch (error) {
      failure = error
    }
    if (!failure && calls() < nth) break
    if (failure) expect(failure).toMatchObject({ code: 'disk', message: expect.stringContaining('no space left') })
    if (fs.existsSync(join(folder, 'events.jsonl'))) expect(lines()).toMatch(/^$|\n$/)
  }
})

describe('TensorBoard bytes', () => {
  test('crc32c: the vectors of RFC 3720, B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43)
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e)
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  })

  test('a record is length, checksum, data, checksum', () => {
    const framed = record(Buffer.from('abc'))
    expect(framed.readBigUInt64LE(0)).toBe(3n)
    expect(framed.readUInt32LE(8)).toBe(maskedCrc32c(Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0)))
    expect(framed.toString('utf8', 12, 15)).toBe('abc')
    expect(framed.readUInt32LE(15)).toBe(maskedCrc32c(Buffer.from('abc')))
  })

  test('events by hand', () => {
    // field 1 double 1.0 (09 …f03f), field 3 bytes (1a 0d) "brain.Event:2"
    expect(versionRecord(1).subarray(12, -4).toString('hex')).toBe('09000000000000f03f1a0d627261696e2e4576656e743a32')
    // step 300 (10 ac02), summary (2a 0a) of one value (0a 08): tag "a" (0a 01 61), simple_value 0.5 (15 0000003f)
    expect(scalarsRecord(1, 300, { a: 0.5 }).subarray(12, -4).toString('hex')).toBe(
      '09000000000000f03f10ac022a0a0a080a0161150000003f'
    )
  })
})
