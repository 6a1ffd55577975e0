import { expect, test } from 'vitest'
import { rangeOf, warningsAt, warningsOf } from '../../../src/renderer/lib/health.ts'
import { chartsFor, headlineWords } from '../../../src/renderer/lib/metrics.ts'
import { shareDone, stateSentence, stateWord } from '../../../src/renderer/lib/run-words.ts'
import { groupWords, isFlat } from '../../../src/renderer/pages/runs/group-words.ts'
import type { RunState, RunSummary } from '../../../src/shared/contract/types.ts'
import type { SampleRow } from '../../../src/shared/event.ts'

const run = (state: RunState): RunSummary => ({
  id: 'r', kind: 'grpo', name: 'Run', state, notes: '', tags: [], createdAt: 0, startedAt: 0, endedAt: state.kind === 'ended' ? 1000 : null,
  folder: '/r', base: null, parent: null,
  whole: false, adapter: null, headline: {}, trashedAt: null
}) // prettier-ignore
const running = {
  kind: 'running',
  phase: 'training',
  step: 3,
  of: 10,
  progress: null,
  remainingMs: 90_000,
  stopping: false
} as const

test.each<[RunState, string, RegExp]>([
  [{ kind: 'held' }, 'Held back', /^Held back/],
  [{ kind: 'queued', place: 0 }, 'Next', /^Next/],
  [{ kind: 'queued', place: 2 }, 'Waiting', /2 ahead/],
  [running, 'Running', /^Training, step 3 of 10, about 1.min 30.s left\.$/],
  [{ ...running, stopping: true }, 'Stopping', /^Stopping/],
  [
    { kind: 'ended', how: 'crashed', reason: 'the worker was killed', hint: null, resumable: true },
    'Crashed',
    /the worker was killed\.$/
  ]
])('%o says %s', (state, word, sentence) => {
  expect(stateWord(state).word).toBe(word)
  expect(stateSentence(run(state), 2000)).toMatch(sentence)
})

test('an end that says no more than “done” is not said twice', () => {
  const ended = { kind: 'ended', how: 'done', reason: 'finished', hint: null, resumable: false } as const
  expect(stateSentence(run(ended), 2000)).toMatch(/^Done( .*)?\.$/)
  expect(stateSentence(run(ended), 2000)).not.toMatch(/finished/)
})

test('how far a run is: its steps, refined by what goes on inside one; unknown is null', () => {
  expect(shareDone(running)).toBeCloseTo(0.3)
  expect(shareDone({ ...running, progress: { label: 'rollouts', done: 5, of: 10 } })).toBeCloseTo(0.35)
  expect(shareDone({ ...running, step: null, of: null })).toBeNull()
  expect(shareDone({ kind: 'held' })).toBeNull()
})

const row = (verdict: string, reward: number, advantage = 0): SampleRow => ({
  taskId: 't', prompt: 'p', thinking: null, answer: null, text: '', verdict, stop: 'eos', length: 5, rewards: {}, reward, advantage
}) // prettier-ignore

test('a group without variance is said to teach nothing', () => {
  const eight = Array.from({ length: 8 }, () => row('wrong', -0.5))
  expect(isFlat(eight)).toBe(true)
  expect(groupWords(eight)).toBe(
    'All eight answers wrong or unreadable, each with reward −0.5: no gradient from this group.'
  )
  expect(groupWords(eight.map((one) => ({ ...one, verdict: 'correct', reward: 1 })))).toMatch(
    /^All eight answers correct.*no gradient/
  )
})
test('a group that teaches says which way it pushes', () => {
  expect(groupWords([row('correct', 1, 1.2), row('wrong', -1, -1.2), row('unreadable (no answer)', -1, -1.2)])).toMatch(
    /^One of three answers correct\. It pushes towards/
  )
  expect(groupWords([row('wrong', -1, -1), row('wrong', -0.5, 1)])).toMatch(/^All two answers wrong, yet/)
})

/** One metric of a GRPO run. */
const series = (name: string, values: number[]) => (metric: string) =>
  metric === name || metric === 'reward'
    ? { step: values.map((_, i) => i + 1), value: metric === name ? values : values.map((_, i) => i) }
    : undefined

test('warnings come from trends, not from single steps, and a healthy run has none', () => {
  expect(warningsOf(series('entropy', [0.3, 0.3, 0.3, 0.3, 0.3]))).toEqual([])
  expect(warningsOf(series('entropy', [0.3, 0.3, 0.3, 0.005]))).toEqual([])
  expect(warningsOf(series('entropy', [0.005, 0.005, 0.005, 0.005, 0.005]))).toMatchObject([
    { chart: 'entropy', level: 'alarm' }
  ])
  expect(warningsOf(series('completions/clipped_ratio', [0.9, 0.9, 0.9, 0.9, 0.9]))).toMatchObject([
    { chart: 'clipped', level: 'alarm' }
  ])
  expect(warningsOf(series('frac_reward_zero_std', [1, 1, 1, 1, 1]))).toMatchObject([
    { chart: 'zero-variance', level: 'note' }
  ])
  expect(
    warningsOf(
      series(
        'reward',
        Array.from({ length: 30 }, () => 0.1)
      )
    )
  ).toMatchObject([{ chart: 'reward' }])
  expect(
    warningsOf(
      series(
        'reward',
        Array.from({ length: 30 }, (_, i) => i / 30)
      )
    )
  ).toEqual([])
  expect(warningsOf(series('eval/loss', [1, 0.8, 0.9]))).toMatchObject([{ chart: 'loss' }])
})

test('a chart tells of its latest value out of range, and the band it draws is the one it is judged by', () => {
  const late = series('entropy', [0.3, 0.3, 0.3, 0.3, 0.02])
  expect(warningsOf(late)).toEqual([])
  expect(warningsAt('entropy', late)).toMatchObject([{ level: 'note', text: expect.stringContaining('0.02') }])
  expect(warningsAt('entropy', series('entropy', [0.02, 0.3]))).toEqual([])
  expect(warningsAt('kl', late)).toEqual([])
  expect(rangeOf('entropy', late)).toMatchObject({ low: 0.05, high: 0.5 })
  // Of SFT nothing is sampled: the range of GRPO says nothing of it.
  const taught = (metric: string) => (metric === 'reward' ? undefined : late(metric))
  expect([rangeOf('entropy', taught), warningsAt('entropy', taught)]).toEqual([undefined, []])
  // Usual for a while: the chart says so, the run does not.
  const undecided = series('entropy', [0.9, 0.8, 0.8, 0.7, 0.7])
  expect([warningsOf(undecided), warningsAt('entropy', undecided).length]).toEqual([[], 1])
  // A trend is told once.
  expect(warningsAt('kl', series('kl', [3, 3, 3, 3, 3]))).toHaveLength(1)
})

test('every metric that training reports has its chart; verdicts keep their colours', () => {
  const names = [
    'loss', 'eval/loss', 'reward', 'reward_std', 'rewards/accuracy/mean', 'accuracy', 'completions/mean_length/correct', 'entropy', 'kl',
    'completions/clipped_ratio', 'frac_reward_zero_std', 'grad_norm', 'learning_rate', 'sampling/sampling_logp_difference/mean',
    'tokens_per_second/train', 'timing_s/rollout', 'memory_mib/resident', 'memory_mib/planned'
  ] // prettier-ignore
  const charts = chartsFor(names)
  expect(charts.flatMap(({ lines }) => lines.map(({ metric }) => metric)).sort()).toEqual([...names].sort())
  expect(charts.find(({ spec }) => spec.id === 'length')!.lines[0]!.colour).toBe('correct')
  expect(chartsFor(['eval/loss', 'loss'])[0]!.lines.map(({ label }) => label)).toEqual(['training', 'held out'])
  expect(headlineWords({ reward: 0.5, loss: 1.25, 'eval/accuracy': 0.5 }).replaceAll('\u202f', ' ')).toBe(
    'held-out accuracy 50.0 % · reward 0.5'
  )
})

test('an evaluation is known by the accuracy of its last policy on its first taskset, a demo too', () => {
  const measured = {
    'eval/base/sums/accuracy': 0.125,
    'eval/base/gsm8k/test/accuracy': 0.25,
    'eval/trained/sums/accuracy': 0.5,
    'eval/trained/gsm8k/test/accuracy': 0.75
  }
  expect(headlineWords(measured).replaceAll('\u202f', ' ')).toBe('trained on sums 50.0 %')
  expect(headlineWords({ loss: 1.25, ...measured }).replaceAll('\u202f', ' ')).toBe(
    'trained on sums 50.0 % · loss 1.25'
  )
})
