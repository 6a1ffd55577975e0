/**
 * Which tasks are worth training on: the teachable ones (neither always solved nor never), without anything that leaks
 * from a test set. Pure: rows in, rows and reasons out.
 */
import type { Task } from '../../../shared/task.ts'

/** How often a policy solved a task out of how many samples. */
export type PassCount = { readonly correct: number; readonly samples: number }

/** Pass rates that are kept, see `teachable`. */
export type Band = { readonly minRate?: number; readonly maxRate?: number }

export type Removal<Reason> = { readonly task: Task; readonly reason: Reason }

export type TeachableReason =
  | { readonly kind: 'too easy'; readonly rate: number }
  | { readonly kind: 'too hard'; readonly rate: number }
  | { readonly kind: 'not sampled' }

/**
 * Keeps the middle band: `minRate` < pass rate < `maxRate`. Defaults 0 and 0.7 (paper-facts 4.1, suggested there: the
 * report gives no thresholds).
 */
export function teachable(
  tasks: readonly Task[],
  passes: ReadonlyMap<string, PassCount>,
  band: Band = {}
): { kept: Task[]; removed: Removal<TeachableReason>[] } {
  const kept: Task[] = []
  const removed: Removal<TeachableReason>[] = []
  for (const task of tasks) {
    const pass = passes.get(task.id)
    if (!pass || pass.samples === 0) {
      removed.push({ task, reason: { kind: 'not sampled' } })
      continue
    }
    const rate = pass.correct / pass.samples
    const kind = placeOf(rate, band)
    if (kind === 'kept') kept.push(task)
    else removed.push({ task, reason: { kind, rate } })
  }
  return { kept, removed }
}

function placeOf(rate: number, { minRate = 0, maxRate = 0.7 }: Band): 'kept' | 'too easy' | 'too hard' {
  if (rate >= maxRate) return 'too easy'
  return rate > minRate ? 'kept' : 'too hard'
}

/**
 * Whether the answers so far settle what `teachable` makes of a task that may be asked `samples` times: every outcome of
 * the remaining answers would give the same. `teachable` gives it then from the answers so far.
 */
export function isSettled({ correct, samples: asked }: PassCount, samples: number, band: Band): boolean {
  const remaining = samples - asked
  const places = Array.from({ length: remaining + 1 }, (_, more) => placeOf((correct + more) / samples, band))
  return new Set(places).size === 1
}

/**
 * Asks every task up to `samples` times, `perRound` answers in each round (which share the task's prompt), and leaves a task
 * out of the rounds after the one that settled it. `ask` says whether each of a task's answers number `from` to
 * `from + count - 1` was correct, task by task in their order.
 */
export async function passCounts(
  tasks: readonly Task[],
  { samples, perRound, band }: { readonly samples: number; readonly perRound: number; readonly band: Band },
  ask: (tasks: readonly Task[], from: number, count: number) => Promise<readonly (readonly boolean[])[]>
): Promise<Map<string, PassCount>> {
  const counts = new Map<string, PassCount>(tasks.map(({ id }) => [id, { correct: 0, samples: 0 }]))
  let open = tasks
  for (let from = 0; from < samples && open.length > 0; from += perRound) {
    const verdicts = await ask(open, from, Math.min(perRound, samples - from))
    for (const [i, { id }] of open.entries()) {
      const { correct, samples: before } = counts.get(id)!
      const round = verdicts[i]!
      counts.set(id, { correct: correct + round.filter(Boolean).length, samples: before + round.length })
    }
    open = open.filter(({ id }) => !isSettled(counts.get(id)!, samples, band))
  }
  return counts
}

export type LeakReason =
  | { readonly kind: 'same text'; readonly testId: string }
  | { readonly kind: '13-gram'; readonly testId: string; readonly words: string }
  | { readonly kind: '7-gram share'; readonly testId: string; readonly share: number }

export type DecontaminationOptions = {
  /** A 13-gram in more test items than this is common phrasing and ignored. */
  readonly commonItems?: number
  /** Share of a task's 7-grams found in one test item above which it is removed. */
  readonly maxShare?: number
}

/** Words of letters and digits, lower-case; operators and decimals stay, since `3+4` and `3-4` are not the same task. */
const words = (text: string): string[] =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .match(/[\p{L}\p{N}]+(?:\.\d+)?|[-+*/=^<>()−×÷]/gu) ?? []
/** For n-grams: words and numbers only, so that changed punctuation does not hide a copy. */
const proseWords = (text: string): string[] =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu) ?? []

const grams = (list: readonly string[], n: number): Set<string> => {
  const found = new Set<string>()
  for (let i = 0; i + n <= list.length; i++) found.add(list.slice(i, i + n).join(' '))
  return found
}

/**
 * Removes what overlaps the test items (paper-facts 4.5, thresholds suggested there): the same normalised text (which is
 * all that short generated tasks can be told apart by); a shared 13-gram that few test items have; or more than 40 % of
 * the task's 7-grams in one test item.
 */
export function decontaminate(
  tasks: readonly Task[],
  test: readonly Task[],
  options: DecontaminationOptions = {}
): { kept: Task[]; removed: Removal<LeakReason>[] } {
  const { commonItems = 3, maxShare = 0.4 } = options
  const texts = new Map<string, string>()
  const long = new Map<string, string[]>()
  const short = new Map<string, string[]>()
  for (const { id, prompt } of test) {
    const key = words(prompt).join(' ')
    if (!texts.has(key)) texts.set(key, id)
    for (const [index, n] of [
      [long, 13],
      [short, 7]
    ] as const) {
      for (const gram of grams(proseWords(prompt), n)) index.set(gram, [...(index.get(gram) ?? []), id])
    }
  }

  const leak = ({ prompt }: Task): LeakReason | null => {
    const testId = texts.get(words(prompt).join(' '))
    if (testId !== undefined) return { kind: 'same text', testId }
    const prose = proseWords(prompt)
    for (const gram of grams(prose, 13)) {
      const items = long.get(gram) ?? []
      if (items.length > 0 && items.length <= commonItems) return { kind: '13-gram', testId: items[0]!, words: gram }
    }
    const sevens = grams(prose, 7)
    const hits = new Map<string, number>()
    for (const gram of sevens) for (const id of short.get(gram) ?? []) hits.set(id, (hits.get(id) ?? 0) + 1)
    for (const [id, count] of hits) {
      if (count / sevens.size > maxShare) return { kind: '7-gram share', testId: id, share: count / sevens.size }
    }
    return null
  }

  const kept: Task[] = []
  const removed: Removal<LeakReason>[] = []
  for (const task of tasks) {
    const reason = leak(task)
    if (reason) removed.push({ task, reason })
    else kept.push(task)
  }
  return { kept, removed }
}
