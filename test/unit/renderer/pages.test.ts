import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { EvaluateRecipe } from '../../../src/shared/recipe.ts'
import { dodge } from '../../../src/renderer/components/figures/dodge.ts'
import { distinctNames } from '../../../src/shared/distinct-names.ts'
import { lengthCurves } from '../../../src/renderer/pages/evaluate/length-accuracy.ts'
import { evaluateYaml, formProblem } from '../../../src/renderer/pages/evaluate/evaluate-recipe.ts'
import { pText } from '../../../src/shared/p-text.ts'
import { families, policyOf } from '../../../src/renderer/pages/models/lineage.ts'
import { roomFor, STRETCH } from '../../../src/renderer/pages/play/growing-text.ts'
import { paragraphs } from '../../../src/renderer/pages/play/paragraphs.ts'
import { readRewards } from '../../../src/renderer/pages/reward/group-rewards.ts'

test('a stretch takes what fits, up to a line end, and grows past no more than one more stretch', () => {
  expect(roomFor(0, 'short')).toBe(5)
  expect(roomFor(STRETCH, 'x')).toBe(1) // the rest of a line stays with it
  expect(roomFor(STRETCH, 'end\nnext')).toBe(4)
  expect(roomFor(0, 'a'.repeat(STRETCH) + 'b\nc')).toBe(STRETCH + 2)
  expect(roomFor(0, 'a'.repeat(3 * STRETCH))).toBe(STRETCH)
  expect(roomFor(2 * STRETCH, 'a'.repeat(2 * STRETCH))).toBe(0)
})

test('a thought in steps: paragraphs, long ones cut between sentences or lines, nothing lost', () => {
  expect(paragraphs('First.\n\n  Second,\nsame step. \n\n\n')).toEqual(['First.', 'Second,\nsame step.'])
  const long = Array.from({ length: 40 }, (_, i) => `Sentence number ${i} of a long paragraph.`).join(' ')
  const cut = paragraphs(long)
  expect(cut.length).toBeGreaterThan(2)
  expect(cut.every((part) => part.length <= 520 && part.endsWith('.'))).toBe(true)
  expect(cut.join(' ')).toBe(long)
  const lines = Array.from({ length: 60 }, (_, i) => `${i}+1=${i + 1} and so on`).join('\n')
  expect(paragraphs(lines).join('\n')).toBe(lines)
})

test.each([
  ['1 1, -0.5;\n−1', { rewards: [1, 1, -0.5, -1] }],
  ['1 two', { problem: '“two” is not a number.' }],
  ['  ', { problem: 'Write the rewards of one group, for example 1 1 -0.5 -1.' }]
])('rewards %j', (text, expected) => {
  expect(readRewards(text)).toEqual(expected)
})

test('points of a strip do not lie on each other', () => {
  expect(dodge([0.5, 0.5, 0.5, 0.9], 0.01)).toEqual([0, 1, -1, 0])
})

test('p in as many digits as say something', () => {
  expect([0.00001, 0.0041, 0.032, 0.5].map(pText)).toEqual(['p < 0.0001', 'p = 0.0041', 'p = 0.032', 'p = 0.50'])
})

const form = {
  base: '/m/base "x": y.gguf',
  policies: [
    { name: 'base', adapter: null },
    { name: 'sft: 2', adapter: '/r/a.gguf' },
    { name: 'whole', adapter: null, base: '/r/model.gguf' }
  ],
  tasksets: [
    { name: 'held-out', source: { file: '/d/# odd.jsonl', format: 'auto' as const, skip: 0 } },
    { name: 'linear', source: { family: 'linear' as const, difficulty: 2, count: 64, seed: 1 } }
  ],
  runs: 5,
  maxCompletionLength: 256,
  temperature: 0.8,
  seed: 0,
  lenient: false
}

test('the evaluate form is a recipe the schema takes, odd names and paths too', () => {
  expect(formProblem(form)).toBeNull()
  const recipe = EvaluateRecipe.parse({ ...(parse(evaluateYaml(form)) as object), output_dir: 'x' })
  expect(recipe.base).toBe(form.base)
  expect(recipe.policies).toEqual([
    { name: 'base' },
    { name: 'sft: 2', adapter: '/r/a.gguf' },
    { name: 'whole', base: '/r/model.gguf' }
  ])
  expect(recipe.tasksets.map((one) => one.tasks)).toEqual(form.tasksets.map((one) => [one.source]))
  expect(recipe.sampling.temperature).toBe(0.8)
})

test('the evaluate form says what is missing', () => {
  expect(formProblem({ ...form, base: '' })).toContain('base')
  expect(formProblem({ ...form, policies: [] })).toContain('policy')
  expect(formProblem({ ...form, policies: [form.policies[0]!, form.policies[0]!] })).toContain('“base”')
  expect(formProblem({ ...form, tasksets: [] })).toContain('taskset')
})

test('an adapter stands under the one it started from', () => {
  const adapter = (name: string, base: string | null, lineage: string[]) => ({
    path: `/${name}`,
    whole: false,
    name,
    bytes: 1,
    run: null,
    base,
    lineage
  })
  const made = families([
    adapter('grpo', '/m/b.gguf', ['b', 'sft', 'grpo']),
    adapter('alien', null, []),
    adapter('sft', '/m/b.gguf', ['b', 'sft']),
    adapter('other', '/m/b.gguf', ['b', 'other'])
  ])
  expect(made.map((family) => [family.title, family.branches.map((one) => [one.adapter.name, one.depth])])).toEqual([
    [
      'b.gguf',
      [
        ['other', 0],
        ['sft', 0],
        ['grpo', 1]
      ]
    ],
    ['Base unknown', [['alien', 0]]]
  ])
})

test('a whole model answers alone, an adapter with its base', () => {
  const made = { path: '/r/x.gguf', name: 'x', bytes: 1, run: 'r', base: '/m/b.gguf', lineage: [] }
  expect(policyOf({ ...made, whole: true })).toEqual({ base: '/r/x.gguf', adapter: null })
  expect(policyOf({ ...made, whole: false })).toEqual({ base: '/m/b.gguf', adapter: '/r/x.gguf' })
  const titles = families([{ ...made, whole: false, base: '/runs/full/model.gguf' }]).map(({ title }) => title)
  expect(titles).toEqual(['full/model.gguf'])
})

test('length curves: bins of equal count, none with few answers', () => {
  const points = Array.from({ length: 30 }, (_, i) => ({ policy: 'a', length: 30 - i, verdict: i < 15 ? 'wrong' : 'correct' }) as const) // prettier-ignore
  expect(lengthCurves(points)).toEqual([{ policy: 'a', x: [8, 23], y: [1, 0], weight: [0.5, 0.5], counts: [15, 15] }])
  expect(lengthCurves(points.slice(0, 5))[0]!.x).toEqual([28])
  expect(lengthCurves([])).toEqual([])
})

test('runs of one name are told apart by their place', () => {
  expect(distinctNames(['a', 'b', 'a'])).toEqual(['a (1)', 'b', 'a (2)'])
  expect(distinctNames(['a', 'b'])).toEqual(['a', 'b'])
  expect(distinctNames(['a', 'a', 'a (1)'])).toEqual(['a (2)', 'a (3)', 'a (1)'])
})
