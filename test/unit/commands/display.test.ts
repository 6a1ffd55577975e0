import { expect, test } from 'vitest'
import { textDisplay } from '../../../src/main/commands/display.ts'
import { createProgress } from '../../../src/main/commands/progress.ts'
import { createStepTable } from '../../../src/main/jobs/step-table.ts'

const sink = (): { text: () => string; write: (text: string) => void } => {
  let written = ''
  return { text: () => written, write: (text) => void (written += text) }
}

test('the table of steps takes its columns from the first step and repeats its head', () => {
  const table = createStepTable()
  const step = (n: number): string[] =>
    table.rows({ kind: 'step', step: n, of: 60, metrics: { reward: 0.25, 'completions/mean_length': 31.4, other: 1 } })
  expect(step(1)).toEqual(['     step    reward    length', '     1/60     0.250      31.4'])
  expect(step(2)).toEqual(['     2/60     0.250      31.4'])
  const heads = Array.from({ length: 50 }, (_, i) => step(i + 3)).filter((rows) => rows.length === 2)
  expect(heads).toHaveLength(2)
  expect(table.rows({ kind: 'step', step: 60, of: 60, metrics: { reward: 1 } })).toEqual([
    '    60/60     1.000         -'
  ])
})

test('the table of steps shows what share of a step each phase took', () => {
  const seconds = { prefill: 0.5, decode: 10, sample: 0.5, score: 1, train: 8, sync: 0 }
  const metrics = Object.fromEntries(Object.entries(seconds).map(([phase, it]) => [`timing_s/${phase}`, it]))
  const [head, row] = createStepTable().rows({ kind: 'step', step: 1, of: 9, metrics: { ...metrics, step_time: 20.5 } })
  expect(head).toBe('     step   seconds % prefill/decode/sample/score/train/sync')
  expect(row!.split(/ +/)).toEqual(['', '1/9', '20.5', '3/50/3/5/40/0'])
  expect(row).toHaveLength(head!.length)
  const sft = createStepTable().rows({ kind: 'step', step: 1, of: 9, metrics: { 'timing_s/train': 2, loss: 1 } })
  expect(sft).toEqual(['     step      loss', '      1/9    1.0000'])
})

test('progress without a terminal is a plain line now and then, with the time left', () => {
  const stream = sink()
  let time = 0
  const progress = createProgress(stream, () => time)
  for (const done of [0, 1, 2, 3, 4]) {
    progress.update({ kind: 'progress', label: 'rollout', done, of: 40, note: 'width 8' })
    time += 6000
  }
  expect(stream.text()).toBe('rollout 2/40, 3m48s left, width 8\nrollout 4/40, 3m36s left, width 8\n')
})

test('what a run says goes to stderr, its result to stdout', () => {
  const [out, err] = [sink(), sink()]
  const display = textDisplay({ out, err })
  display.event({ kind: 'plan', lines: ['weights 12 MiB'] })
  display.event({ kind: 'log', level: 'warn', text: 'two samples dropped' })
  display.event({ kind: 'evaluation', step: 4, metrics: { accuracy: 0.123456, loss: 2 } })
  display.event({ kind: 'checkpoint', step: 4, path: 'runs/x/checkpoint-4' })
  display.event({ kind: 'end', how: 'stopped', reason: 'entropy collapsed' })
  display.result({ lines: ['accuracy 12 %'] })
  expect(out.text()).toBe('accuracy 12 %\n')
  expect(err.text()).toBe(
    '  weights 12 MiB\nwarning: two samples dropped\nevaluation at step 4: accuracy 0.1235 · loss 2\n' +
      'checkpoint of step 4: runs/x/checkpoint-4\nstopped: entropy collapsed\n'
  )
})
