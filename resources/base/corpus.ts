/**
 * The generated text the base is trained on. Text between « and » is to be learned; the rest (operands drawn at random,
 * questions) is read, and learned only now and then. Four kinds of documents: elementary facts in many phrasings, single
 * steps as the teachers write them, copying and reading exercises, and chats that answer directly, without a thought.
 */
import { BRIEF_SYSTEM_MESSAGE } from '../../src/main/reasoning/prompts.ts'
import { FAMILIES } from '../../src/main/reasoning/tasks/index.ts'
import type { Random } from '../../src/shared/random.ts'
import type { Task } from '../../src/shared/task.ts'
import { fact } from './facts.ts'
import { exercise } from './exercises.ts'

/** Tasks whose id ends in 0 or 1 (one of eight) never appear in the corpus: test sets may be drawn from them. */
export const isReserved = (task: Task): boolean => /[01](~\d+)?$/.test(task.id)

const KINDS = [
  { share: 0.26, make: (random: Random, ease: number) => lines(random, ease, 5, fact) },
  { share: 0.42, make: (random: Random, ease: number) => lines(random, ease, 4, step) },
  { share: 0.12, make: (random: Random, ease: number) => lines(random, ease, 4, exercise) },
  { share: 0.2, make: chat }
] as const

/** One document, marked with « ». `ease` from 1 (the first steps of training) to 0 draws easier ones. */
export function makeDocument(random: Random, ease = 0): string {
  let at = random.next()
  for (const { share, make } of KINDS) {
    at -= share
    if (at < 0) return make(random, ease)
  }
  return chat(random)
}

type MakeLine = (random: Random, ease: number) => string

const lines = (random: Random, ease: number, count: number, make: MakeLine): string =>
  `${Array.from({ length: count }, () => make(random, ease)).join('\n')}\n«<|endoftext|>»`

/** Shares of the families in single steps, and of their difficulties. */
const FAMILY_NAMES = ['arithmetic', 'arithmetic', 'arithmetic', 'linear', 'linear', 'chain', 'chain', 'countdown'] as const

export function drawTask(random: Random, difficulties: readonly number[], name = random.pick(FAMILY_NAMES)): Task {
  const family = FAMILIES.get(name)!
  for (;;) {
    const task = family.generate(random.pick(difficulties), random)
    if (!isReserved(task)) return task
  }
}

/** One step of a teacher's thought after what it follows from, never the whole thought of a task with several steps. */
function step(random: Random, ease: number): string {
  const task = drawTask(random, random.next() < ease ? [2, 3] : [2, 3, 3, 4, 4, 5])
  const { thinking } = FAMILIES.get(task.source)!.teach(task, random)
  const steps = thinking.split('; ')
  const at = random.integer(0, steps.length - 1)
  return STEP.get(task.source)!(task.prompt, steps, at)
}

const last = (text: string): string => text.split(', ').at(-1)!

/** `steps[at]` with as much before it as it needs. */
const STEP: ReadonlyMap<string, (prompt: string, steps: readonly string[], at: number) => string> = new Map([
  [
    'arithmetic',
    (prompt: string, steps: readonly string[], at: number) =>
      at === 0 ? `${prompt} «${steps[0]}»` : `${last(steps[at - 1]!)}; «${steps[at]}»`
  ],
  [
    'linear',
    (prompt: string, steps: readonly string[], at: number) => {
      if (at === 0) return `${prompt} «${steps[0]}»`
      const before = [prompt.slice('Solve '.length, -1), ...steps.slice(0, at)]
      return `${before.slice(-2).join('; ')}; «${steps[at]}»`
    }
  ],
  [
    'chain',
    (prompt: string, steps: readonly string[], at: number) => {
      if (at === 0) return `${prompt} «${steps[0]}»`
      const [facts] = prompt.split('. ')
      const [given, ...rest] = steps[at]!.split(' = ')
      if (rest.length > 0) return `${facts}. ${given} = «${rest.join(' = ')}»`
      const [sum, total] = given!.split('=')
      return `${sum}=«${total}»`
    }
  ],
  [
    'countdown',
    (prompt: string, steps: readonly string[], at: number) => {
      const tried = steps[at]!
      return `make ${/\d+\.$/.exec(prompt)![0]} ${last(tried).replace(/ (yes|no)$/, ' «$1»')}`
    }
  ]
])

/** Difficulties of direct answers: mostly what can be answered at a glance. */
const DIRECT = [1, 1, 1, 2, 2, 2, 3, 4, 5] as const

/** A problem in the chat template, answered without a thought. */
function chat(random: Random): string {
  const task = drawTask(random, DIRECT, random.pick(['arithmetic', 'linear', 'chain', 'countdown']))
  const { answer } = FAMILIES.get(task.source)!.teach(task, random)
  const system = random.next() < 0.5 ? `<|im_start|>system<|im_sep|>${BRIEF_SYSTEM_MESSAGE}<|im_end|>` : ''
  return `${system}<|im_start|>user<|im_sep|>${task.prompt}<|im_end|><|im_start|>assistant<|im_sep|>«${answer}<|im_end|>»`
}
