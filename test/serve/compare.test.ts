/** Runs laid side by side: told apart by name, tested once, and the host answers others meanwhile. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import { pairsOf, testsOf } from '../../src/main/ipc/compare.ts'
import { evaluationCalls } from '../../src/main/ipc/evaluation.ts'
import { evaluationReader } from '../../src/main/ipc/evaluation-data.ts'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { runCalls } from '../../src/main/ipc/runs.ts'
import type { RunRow } from '../../src/main/data/store/runs.ts'
import type { StageResult } from '../../src/main/evaluation/report/data.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

const TASKS = 40

function hosted(): Host {
  const workerPath = join(import.meta.dirname, '../fake/worker.ts')
  const host = openHost({ workspace: workspace(), workerPath, version: '0.0.0', desktop: false })
  atEnd(host.close)
  return host
}

/** A measured run: of so many of its tasks the answer is right, which ones the seed says. */
function evaluated(host: Host, name: string, right: number, seed = name): RunRow {
  const folder = host.at('runs', `${name}-${seed}`)
  mkdirSync(folder)
  const correct = new Set(
    seeded(seed)
      .shuffle(Array.from({ length: TASKS }, (_, i) => i))
      .slice(0, right)
  )
  const answers = Array.from({ length: TASKS }, (_, i) => ({
    policy: 'base',
    taskset: 'sums',
    run: 0,
    taskId: `t${i}`,
    verdict: correct.has(i) ? 'correct' : 'wrong',
    answer: String(i),
    length: 10,
    stop: 'eos',
    text: `<think>\n${i}\n</think>\n\\boxed{${i}}`
  }))
  writeFileSync(join(folder, 'answers.jsonl'), answers.map((answer) => JSON.stringify(answer) + '\n').join(''))
  const row = host.store.runs.add(newRun({ kind: 'evaluate', name, folder }))
  host.store.runs.change(row.id, { state: 'ended', how: 'done' })
  return host.store.runs.get(row.id)!
}

test('two runs of one name are told apart in the sentences, as on the page', async () => {
  const host = hosted()
  const rows = [evaluated(host, 'Short demo', 20, 'one'), evaluated(host, 'Short demo', 21, 'two')]
  const { tests } = await runCalls(host).compare({ ids: rows.map(({ id }) => id) }, undefined)
  expect(tests).toHaveLength(1)
  expect(tests[0]).toMatchObject({ a: 'Short demo (1): base', b: 'Short demo (2): base' })
  expect(tests[0]!.verdict).toMatch(
    /^Short demo \(2\): base is not distinguishable from Short demo \(1\): base: 2\.5 points/
  )
})

test('a verdict given by hand counts in the comparison', async () => {
  const host = hosted()
  const [a, b] = [evaluated(host, 'a', 40), evaluated(host, 'b', 40)]
  const read = evaluationReader(host)
  const compare = async (): Promise<number> =>
    (await runCalls(host, read).compare({ ids: [a.id, b.id] }, undefined)).tests[0]!.difference
  expect(await compare()).toBe(0)
  const judged = { id: b.id, taskset: 'sums', taskId: 't3', policy: 'base', run: 0 }
  await evaluationCalls(host, read).judge({ ...judged, verdict: 'wrong' }, undefined)
  expect(await compare()).toBeCloseTo(-1 / TASKS, 12)
  await evaluationCalls(host, read).judge({ ...judged, verdict: null }, undefined)
  expect(await compare()).toBe(0)
})

test('eight runs: others are answered between the tests, and what was read stays read', async () => {
  const host = hosted()
  const rows = Array.from({ length: 8 }, (_, i) => evaluated(host, `run ${i}`, 20 + i))
  const read = evaluationReader(host)
  const first = rows.map(read)
  let turns = 0
  let counting = true
  const count = (): void => {
    turns++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  const { tests } = await runCalls(host, read).compare({ ids: rows.map(({ id }) => id) }, undefined)
  counting = false
  expect(tests).toHaveLength(28)
  expect(turns).toBeGreaterThanOrEqual(28)
  expect(rows.map((row, i) => read(row) === first[i])).toEqual(rows.map(() => true))
})

test('what was tested once is not tested again; who no longer waits gets nothing more', async () => {
  let looks = 0
  const result = (seed: string): StageResult => {
    const draw = seeded(seed)
    const items = Array.from({ length: TASKS }, (_, i) => {
      const correct = draw.next() < 0.5
      return { taskId: `t${i}`, runs: [{ correct, length: 1, stop: 'eos' as const, verdict: 'correct' as const }] }
    })
    return {
      stage: 'base',
      taskset: 'sums',
      get items() {
        looks++
        return items
      }
    }
  }
  const pairs = pairsOf(['a', 'b', 'c'].map((name) => ({ name, results: [result(name)] })))
  const left = new AbortController()
  left.abort()
  await expect(testsOf(pairs, left.signal)).rejects.toMatchObject({ name: 'AbortError' })
  expect(looks).toBe(0)
  const once = await testsOf(pairs)
  const before = looks
  expect(before).toBeGreaterThan(0)
  expect(await testsOf(pairs)).toEqual(once)
  // Another name is another sentence, of the same numbers.
  const renamed = await testsOf(pairs.map((pair) => ({ ...pair, a: 'renamed' })))
  expect(renamed.map(({ low, high, p }) => [low, high, p])).toEqual(once.map(({ low, high, p }) => [low, high, p]))
  expect(renamed[0]!.verdict).toContain('renamed')
  expect(looks).toBe(before)
})

test('few tasks that differ all one way: the interval leaves zero out, the test does not tell them apart, nor do the words', async () => {
  const stage = (name: string, right: number): StageResult => ({
    stage: name,
    taskset: 'sums',
    items: Array.from({ length: 24 }, (_, i) => ({
      taskId: `t${i}`,
      runs: [{ correct: i < right, length: 10, stop: 'eos', verdict: i < right ? 'correct' : 'wrong' }]
    }))
  })
  const pair = (right: number) => ({ from: stage('SFT', 6), to: stage('GRPO', right), a: 'SFT', b: 'GRPO' })
  const [few, many] = await testsOf([pair(2), pair(0)])
  expect(few!.high).toBeLessThan(0)
  expect(few!.p).toBeCloseTo(0.125, 12) // four tasks of one sign: 2 of 16 signings
  expect(few).toMatchObject({ distinguishable: false, verdict: expect.stringContaining('is not distinguishable from') })
  expect(many).toMatchObject({ distinguishable: true, verdict: expect.stringContaining('worse than SFT') })
})
