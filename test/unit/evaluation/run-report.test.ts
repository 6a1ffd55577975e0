import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { environmentRecord } from '../../../src/main/evaluation/environment.ts'
import { reportData, runReport } from '../../../src/main/evaluation/report.ts'
import { keepComposedReport, keepOrigin } from '../../../src/main/evaluation/run-files.ts'
import { openRunLog } from '../../../src/main/training/run-log.ts'
import { sample } from './report.sample.ts'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'run-report-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const report = (): Promise<unknown> =>
  runReport({}, { emit: () => undefined, signal: new AbortController().signal, runDir: folder })

/** A training run of three steps. */
function trained(end: boolean): void {
  writeFileSync(join(folder, 'recipe.yaml'), 'kind: grpo\nseed: 7\nbase: base.gguf\n')
  const log = openRunLog(folder)
  for (const step of [1, 2, 3]) log.emit({ kind: 'step', step, of: 5, metrics: { reward: step / 10, entropy: 0.5 } })
  log.emit({ kind: 'evaluation', step: 3, metrics: { accuracy: 0.25 } })
  for (let i = 0; i < 7; i++) log.emit({ kind: 'log', level: 'warn', text: `trouble ${i}` })
  if (end) log.emit({ kind: 'end', how: 'stopped', reason: 'entropy fell' })
  log.close()
}

test('a training run: its curves, how it ended, its settings; no table of accuracies that were not measured', async () => {
  trained(true)
  writeFileSync(join(folder, 'adapter.gguf'), '')
  const data = reportData(folder)
  expect(data.notes?.[0]).toBe('3 of 5 steps; stopped: entropy fell.')
  expect(data.notes).toHaveLength(1 + 5 + 1)
  expect(data.curves.map(({ name }) => name)).toEqual(['reward', 'entropy', 'eval/accuracy'])
  expect(data.stages).toEqual([{ name: 'grpo', adapter: join(folder, 'adapter.gguf') }])
  expect(data.seeds).toEqual({ grpo: 7 })
  expect(await report()).toMatchObject({
    lines: [expect.stringContaining('report.html'), expect.stringContaining('report.md')]
  })
  const markdown = readFileSync(join(folder, 'report.md'), 'utf8')
  expect(markdown).toContain('Held-out accuracy')
  expect(markdown).not.toContain('## Accuracy')
  const html = readFileSync(join(folder, 'report.html'), 'utf8')
  expect(html).not.toContain('<h2>Accuracy')
  expect(html).not.toMatch(/NaN|undefined|Infinity/)
  expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([])
})

test('a run that still goes on is reported so far', () => {
  trained(false)
  expect(reportData(folder).notes?.[0]).toBe('3 of 5 steps; not finished.')
})

test('date, command and machine are those of the run, not of the report', () => {
  trained(true)
  keepOrigin(folder, { date: '2026-01-02T03:04:05Z', command: 'make it', environment: { machine: 'another' } })
  expect(reportData(folder)).toMatchObject({
    date: '2026-01-02T03:04:05Z',
    command: 'make it',
    environment: { machine: 'another' }
  })
})

test('a composed report is written again from what was kept', async () => {
  keepComposedReport(folder, sample)
  expect(await report()).toMatchObject({
    lines: expect.arrayContaining([expect.stringMatching(/grpo is .* than sft/)]) as unknown
  })
  expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain(sample.title)
})

test('an empty folder and a run without a step are refused in words', () => {
  expect(() => report()).toThrow(
    expect.objectContaining({ code: 'data', message: expect.stringContaining('holds no run') as string })
  )
  writeFileSync(join(folder, 'recipe.yaml'), 'kind: sft\n')
  expect(() => report()).toThrow(
    expect.objectContaining({ code: 'data', message: expect.stringContaining('nothing to report') as string })
  )
})

test('a damaged log is named with its line', () => {
  trained(true)
  writeFileSync(join(folder, 'events.jsonl'), '{}\nnonsense\n')
  expect(() => reportData(folder)).toThrow('line 2: not JSON')
})

test('the environment names machine, system and every library', () => {
  const record = environmentRecord()
  expect(Object.keys(record)).toEqual(['machine', 'system', 'node', 'node-llama-cpp', 'llama.cpp', 'ggml'])
  for (const value of Object.values(record)) expect(value).toMatch(/\d/)
})
