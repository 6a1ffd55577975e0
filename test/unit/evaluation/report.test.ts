import { describe, expect, test } from 'vitest'
import { chartsOf, curvesFromEvents, seriesName } from '../../../src/main/evaluation/report/curves.ts'
import type { ReportData } from '../../../src/main/evaluation/report/data.ts'
import { escape, moment, number, percent, points } from '../../../src/main/evaluation/report/format.ts'
import { reportHtml } from '../../../src/main/evaluation/report/html.ts'
import { intervalChart } from '../../../src/main/evaluation/report/interval-chart.ts'
import { lineChart } from '../../../src/main/evaluation/report/line-chart.ts'
import { reportMarkdown } from '../../../src/main/evaluation/report/markdown.ts'
import { summarise } from '../../../src/main/evaluation/report/summary.ts'
import { niceTicks, tickLabels } from '../../../src/main/evaluation/report/svg.ts'
import { sample } from './report.sample.ts'

/** Throws where tags do not nest; gives the names of all elements. */
function elements(markup: string): Set<string> {
  const open: string[] = []
  const seen = new Set<string>()
  const VOID = new Set(['meta', 'br'])
  for (const [, slash, name, rest] of markup
    .replace(/<!doctype html>|<style>[^]*?<\/style>/g, '')
    .matchAll(/<(\/?)([a-z0-9]+)((?:\s[^<>]*)?)>/g)) {
    seen.add(name!)
    if (slash) expect(open.pop(), name).toBe(name)
    else if (!VOID.has(name!) && !rest!.endsWith('/')) open.push(name!)
  }
  expect(open).toEqual([])
  return seen
}

describe('html', () => {
  const html = reportHtml(sample)

  test('needs nothing else: no scripts, no links, nothing from outside', () => {
    const names = elements(html)
    for (const name of ['script', 'link', 'img', 'iframe', 'object', 'a']) expect(names).not.toContain(name)
    expect(html).not.toMatch(/https?:|@import|url\(|src=|\son\w+=/)
    expect(html).toContain('prefers-color-scheme: dark')
  })

  test('text from models and tasks is escaped', () => {
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    expect(html).toContain('&lt;b&gt;not bold&lt;/b&gt;')
    expect(html).toContain('4 rolls &amp; a ``` fence')
  })

  test('every drawing has a title, a description and its numbers in a table', () => {
    const drawings = html.match(/<svg /g)!.length
    expect(html.match(/<title id=/g)).toHaveLength(drawings)
    expect(html.match(/<desc id=/g)).toHaveLength(drawings)
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(html.match(/<figure><figcaption>/g)).toHaveLength(drawings - 1)
    expect(html.match(/<summary>Numbers<\/summary>/g)).toHaveLength(drawings - 1)
    expect(html).not.toMatch(/NaN|undefined|Infinity|null/)
  })

  test('holds every section', () => {
    for (const part of [
      'Accuracy',
      'Are the stages different?',
      'Training',
      'The same task, stage by stage',
      'num_generations: 8',
      'tasks</dt><dd>11',
      'reasonsmith demo --seed 3',
      '24.21.0',
      '2026-03-14 09:26 UTC'
    ])
      expect(html).toContain(part)
  })

  test('the same data gives the same page', () => expect(reportHtml(sample)).toBe(html))
})

test('markdown: tables are whole, foreign text cannot break out', () => {
  const markdown = reportMarkdown(sample)
  const widths = markdown.split('\n\n').filter((block) => block.startsWith('| '))
  for (const block of widths)
    expect(new Set(block.split('\n').map((line) => line.match(/(?<!\\)\|/g)!.length)).size).toBe(1)
  expect(markdown).toContain('### chain-4 \\<script>alert(1)\\</script>')
  expect(markdown).toContain('````\nA roll holds 3 m. How many cm are 4 rolls & a ``` fence?\n````')
  expect(markdown).toMatch(/\| Held-out accuracy \| [▁▂▃▄▅▆▇█]{10} \| 55\.6 % \|/)
  expect(markdown).not.toMatch(/NaN|undefined|Infinity/)
})

const tiny = (verdicts: Record<string, readonly string[]>): ReportData => ({
  ...sample,
  curves: [],
  traces: [],
  settings: [],
  results: Object.entries(verdicts).map(([stage, tasks]) => ({
    stage,
    taskset: 't',
    items: tasks.map((marks, i) => ({
      taskId: String(i),
      runs: [...marks].map((mark) => ({
        correct: mark === 'c',
        length: mark === 'u' ? 100 : 10,
        stop: mark === 'u' ? ('length' as const) : ('eos' as const),
        verdict: ({ c: 'correct', w: 'wrong', u: 'unreadable' } as const)[mark as 'c']
      }))
    }))
  }))
})

test('summary by hand', () => {
  const { headline, tests } = summarise(
    tiny({ base: ['cw', 'uw', 'ww'], sft: ['cc', 'cw', 'wc'], grpo: ['cc', 'cc', 'cc'] })
  )
  expect(headline[0]).toMatchObject({
    stage: 'base',
    mean: 1 / 6,
    tasks: 3,
    runs: 2,
    meanLength: 25,
    lengthByVerdict: { correct: 10, wrong: 10, unreadable: 100 },
    cutOff: 1 / 6,
    unreadable: 1 / 6,
    ofRuns: { best: 1 / 3, worst: 0, average: 1 / 6 }
  })
  expect(headline[0]!.deviation).toBeCloseTo(Math.SQRT1_2 / 3, 12) // runs: 1/3, 0
  expect(tests.map(({ from, to, test }) => [from, to, test.p])).toEqual([
    ['base', 'sft', 0.25],
    ['sft', 'grpo', 0.5],
    ['base', 'grpo', 0.25]
  ])
  expect(tests[0]!.words).toContain('sft is not distinguishable from base: 50.0 points')
})

test('stages on different tasks are not compared', () => {
  expect(() => summarise(tiny({ base: ['c'], sft: ['c', 'w'] }))).toThrow(
    'base and sft do not hold the same tasks of t'
  )
})

test.each([{}, { base: ['w'] }, { base: ['c', 'c'], sft: ['c', 'c'] }, { base: ['ww', 'ww'] }] as Record<
  string,
  string[]
>[])('small and extreme reports stay whole: %j', (verdicts) => {
  const data = tiny(verdicts)
  elements(reportHtml(data))
  expect(reportHtml(data) + reportMarkdown(data)).not.toMatch(/NaN|undefined|Infinity/)
})

test('line charts: one point, equal values, gaps', () => {
  const chart = (values: readonly (readonly [number, number])[]): string =>
    lineChart('c', { title: 't', unit: 'tokens', series: [{ stage: 's', name: 'n', points: values }] })
  for (const markup of [
    chart([[5, 2]]),
    chart([
      [1, 7],
      [2, 7],
      [3, 7]
    ]),
    chart([
      [1, NaN],
      [2, NaN]
    ])
  ]) {
    elements(markup)
    expect(markup.replace(/<desc[^]*desc>/, '')).not.toMatch(/NaN|Infinity/)
  }
  expect(
    chart([
      [1, 1],
      [2, 2],
      [3, NaN],
      [4, 4],
      [5, 5]
    ])
      .match(/ d="([^"]*)"/)![1]!
      .match(/M/g)
  ).toHaveLength(2)
  elements(intervalChart('i', summarise(tiny({ base: ['cw', 'ww'] })).headline))
})

test.each([
  [0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [0, 0.7, 4, [0, 0.2, 0.4, 0.6, 0.8]],
  [-3, 12, 4, [-5, 0, 5, 10, 15]],
  [0.0018, 0.0026, 4, [0.0018, 0.002, 0.0022, 0.0024, 0.0026]],
  [5, 5, 4, [2, 4, 6, 8]],
  [0, 0, 2, [-0.5, 0, 0.5]]
])('ticks of %f to %f', (low, high, count, expected) => expect(niceTicks(low, high, count)).toEqual(expected))

test('tick labels', () => {
  expect(tickLabels([0, 0.25, 0.5], 'share')).toEqual(['0', '25', '50'])
  expect(tickLabels([-0.2, 0, 0.2], undefined)).toEqual(['−0.2', '0', '0.2'])
  expect(tickLabels([0, 5000, 10000], 'tokens')).toEqual(['0', '5,000', '10,000'])
  expect(tickLabels([0, 5e-5, 1e-4], undefined)).toEqual(['0', '5e−5', '1e−4'])
})

test('formats', () => {
  expect([18234, 212, 61, 25.53, 1.006, 0.4321, 0.01249, 3.2e-5, 0, -0.5].map(number)).toEqual([
    '18,234',
    '212',
    '61',
    '25.5',
    '1.01',
    '0.432',
    '0.0125',
    '3.2e−5',
    '0',
    '−0.500'
  ])
  expect([percent(0.125), points(0.021), points(-0.021)]).toEqual(['12.5\u00a0%', '+2.1', '−2.1'])
  expect(escape(`<a b="c">&'\u0007`)).toBe('&lt;a b=&quot;c&quot;&gt;&amp;&#39;\ufffd')
  expect([moment('2026-03-14T09:26:53.123Z'), moment('yesterday')]).toEqual(['2026-03-14 09:26 UTC', 'yesterday'])
})

test('curves of a run: known metrics, by step, into their charts', () => {
  const curves = curvesFromEvents('grpo', [
    { kind: 'phase', name: 'train' },
    { kind: 'step', step: 2, of: 2, metrics: { reward: 0.2, 'rewards/format_ok/mean': 1, 'timing_s/rollout': 3 } },
    { kind: 'step', step: 1, of: 2, metrics: { reward: 0.1 } },
    { kind: 'step', step: 2, of: 2, metrics: { reward: 0.3 } },
    { kind: 'evaluation', step: 2, metrics: { accuracy: 0.5, 'chain/accuracy': 0.25 } }
  ])
  expect(curves.map(({ name, points }) => [name, points])).toEqual([
    [
      'reward',
      [
        [1, 0.1],
        [2, 0.3]
      ]
    ],
    ['rewards/format_ok/mean', [[2, 1]]],
    ['eval/accuracy', [[2, 0.5]]],
    ['eval/chain/accuracy', [[2, 0.25]]]
  ])
  expect(chartsOf(curves).map(({ title, unit, series }) => [title, unit, series.map(seriesName)])).toEqual([
    ['Held-out accuracy', 'share', ['held-out', 'chain']],
    ['Reward', undefined, ['reward']],
    ['Parts of the reward, before their weights', undefined, ['format ok']]
  ])
})
