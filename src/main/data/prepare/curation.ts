/**
 * Which tasks are worth training on: the teachable ones (neither always solved nor never), without anything that leaks
 * from a test set. Pure: rows in, rows and reasons out.
 */
import type { Task } from '../../../shared/task.ts'

/** How often a policy solved a task out of how many samples. */
export type PassCount = { readonly correct: number; readonly samples: number }

export type Removal<Reason> = { readonly task: Task; readonly reason: Reason }

export type TeachableReason =
  | { readonly kind: 'too easy'; readonly rate: number }
  | { readonly kind: 'too hard'; readonly rate: number }
  | { readonly kind: 'not sampled' }

/**
 * Keeps the middle band: `minRate` < pass rate < `maxRate`. Defaults 0 and 0.7 (paper-facts 4.1, suggested there: the
 * report gives no thresholds); `keepUnsolved` also keeps rate 0, for a teacher to show.
 */
export function teachable(
  tasks: readonly Task[],
  passes: ReadonlyMap<string, PassCount>,
  options: { readonly minRate?: number; readonly maxRate?: number; readonly keepUnsolved?: boolean } = {}
): { kept: Task[]; removed: Removal<TeachableReason>[] } {
  const { minRate = 0, maxRate = 0.7, keepUnsolved = false } = options
  const kept: Task[] = []
  const removed: Removal<TeachableReason>[] = []
  for (const task of tasks) {
    const pass = passes.get(task.id)
    if (!pass || pass.samples === 0) {
      removed.push({ task, reason: { kind: 'not sampled' } })
      continue
    }
    const rate = pass.correct / pass.samples
    if (rate >= maxRate) removed.push({ task, reason: { kind: 'too easy', rate } })
    else if (rate > minRate || (keepUnsolved && rate === 0)) kept.push(task)
    else removed.push({ task, reason: { kind: 'too hard', rate } })
  }
  return { kept, removed }
}

/** Where tasks lie against a band of pass rates. Tasks without samples count nowhere. */
export type BandCounts = {
  /** Never solved. */
  readonly unsolved: number
  /** Solved, but not more often than `minRate`. */
  readonly under: number
  readonly inside: number
  readonly over: number
}

/** Counts them, with the same edges as `teachable`. */
export function bandCounts(
  tasks: readonly Task[],
  passes: ReadonlyMap<string, PassCount>,
  { minRate = 0, maxRate = 0.7 }: { readonly minRate?: number; readonly maxRate?: number } = {}
): BandCounts {
  const rates = tasks.flatMap(({ id }) => {
    const pass = passes.get(id)
    return pass && pass.samples > 0 ? [pass.correct / pass.samples] : []
  })
  const count = (holds: (rate: number) => boolean): number => rates.filter(holds).length
  return {
    unsolved: count((rate) => rate === 0 && rate < maxRate),
    under: count((rate) => rate > 0 && rate <= minRate && rate < maxRate),
    inside: count((rate) => rate > minRate && rate < maxRate),
    over: count((rate) => rate >= maxRate)
  }
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
