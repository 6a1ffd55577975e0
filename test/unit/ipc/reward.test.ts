import { describe, expect, test } from 'vitest'
import { RewardSettings } from '../../../src/shared/recipe.ts'
import { histogramOf } from '../../../src/main/ipc/length-histogram.ts'
import { explainReward } from '../../../src/main/ipc/reward-explanation.ts'
import { traceFileName, traceHtml } from '../../../src/main/ipc/trace-html.ts'
import { generateTasks } from '../../../src/main/reasoning/tasks/index.ts'
import { accuracyByLength, resolveReward } from '../../../src/main/reasoning/reward.ts'

const asked = (completion: string, more: object = {}) => ({
  completion,
  solution: '42',
  max_completion_length: 512,
  ended: true,
  reward: RewardSettings.parse({}),
  openThink: '<think>',
  closeThink: '</think>',
  ...more
})
const undecided = () => Promise.resolve('undecided' as const)
const GOOD = '<think>six times seven</think>The answer is \\boxed{42}.'

describe('a reward taken apart', () => {
  test('an answer to a generated task is judged by its family, as the run judged it', async () => {
    const [task] = generateTasks({ family: 'countdown', difficulty: 3, count: 1, seed: 3 })
    const other = `(${task!.solution}) + 0 * 1`
    const answer = (text: string): string => `<think>try</think>\\boxed{${text}}`
    const { solution, check } = task!
    const right = await explainReward(asked(answer(solution), { solution, check }), undecided)
    expect(right.verdict).toBe('correct')
    expect(right.equality).toEqual([
      expect.objectContaining({ step: 'the rule of countdown', outcome: expect.stringMatching(/^correct/) })
    ])
    // Of the right value, but not of the task's numbers.
    const wrong = await explainReward(asked(answer(other), { solution, check }), undecided)
    expect(wrong.verdict).not.toBe('correct')
  })

  test('repetition is counted over the tokens where they are known', async () => {
    const tokens = Array.from({ length: 60 }, (_, i) => `t${i % 2}`)
    const made = await explainReward(asked(GOOD, { tokens }), undecided)
    expect(made.components[1]!.numbers).toContain('over 60 tokens')
    expect(made.components[1]!.score).toBeLessThan(0)
    const words = await explainReward(asked(GOOD), undecided)
    expect(words.components[1]!.numbers).toContain('words and signs')
    expect(words.components[1]!.score).toBeCloseTo(0, 12)
  })

  test('adds up to what GRPO would give', async () => {
    const made = await explainReward(asked(GOOD, { lengthTokens: 450 }), undecided)
    const settings = resolveReward(RewardSettings.parse({}), 512)
    const { value } = accuracyByLength(true, 450, settings)
    expect(made).toMatchObject({
      verdict: 'correct',
      thinking: 'six times seven',
      malformed: null,
      override: null,
      lengthTokens: 450
    })
    expect(made.components[0]).toMatchObject({ name: 'accuracy', score: value, weight: 8 / 13 })
    expect(made.reward).toBeCloseTo(
      made.components.reduce((sum, { score, weight }) => sum + score * weight, 0),
      12
    )
    expect(made.extracted).toEqual({ value: '42', by: 'boxed' })
    expect(made.equality[0]).toMatchObject({ step: 'text', left: '42', right: '42' })
    const at = made.curve.length.findIndex((length) => length >= 450)
    expect(made.curve.correct[at]).toBeCloseTo(accuracyByLength(true, made.curve.length[at]!, settings).value, 12)
    expect(made.curve.wrong[0]).toBe(-1)
  })
  test('a wrong answer, one that was cut off, one without a thought', async () => {
    expect((await explainReward(asked(GOOD.replace('42', '43')), undecided)).verdict).toBe('wrong')
    const cut = await explainReward(asked(GOOD, { ended: false }), undecided)
    expect([cut.components[0]!.score, cut.override]).toEqual([-0.5, expect.stringContaining('did not end')])
    const bare = await explainReward(asked('\\boxed{42}'), undecided)
    expect([bare.components[0]!.score, bare.malformed]).toEqual([-1, 'no opening tag'])
  })
  test('repetition is counted and charged', async () => {
    const made = await explainReward(asked(`<think>${'a b c d e '.repeat(40)}</think>\\boxed{42}`), undecided)
    expect(made.components[1]!.score).toBeLessThan(-0.5)
    expect(made.components[1]!.numbers).toMatch(/5-grams over \d+ words and signs/)
  })
  test('the symbolic step is asked where nothing else decides', async () => {
    const made = await explainReward(asked('<think>x</think>\\boxed{\\frac{x}{2}}', { solution: '0.5x' }), () =>
      Promise.resolve('equal')
    )
    expect([made.verdict, made.equality.at(-1)?.step]).toEqual(['correct', 'symbols'])
  })
})

test('lengths fall into bins with edges that can be read', () => {
  const { edges, counts, median, longest } = histogramOf([1, 2, 3, 100, 300], 1024)
  expect([edges[1], median, longest]).toEqual([8, 3, 300])
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(5)
  expect(edges).toHaveLength(counts.length + 1)
  expect(histogramOf([], 64)).toMatchObject({ counts: [0], longest: 0, median: 0 })
  expect(histogramOf([1, 2], 64).median).toBe(1.5)
})

test('an exported trace runs no script and asks for nothing', () => {
  const trace = { id: 'a', title: 'A <b> title', createdAt: 0, prompt: '<script>alert(1)</script>', answers: [{ policy: '"p"', thinking: '</pre><img src=x>', answer: '&', tokens: 3, stop: 'eos' }] } // prettier-ignore
  const html = traceHtml(trace)
  expect(html).not.toMatch(/<script|<img|https?:/)
  expect(html).toContain('&lt;script&gt;alert(1)')
  expect(html).toContain("default-src 'none'")
  expect(traceFileName(trace)).toBe('A-b-title.html')
})
