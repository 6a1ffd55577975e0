/** Copying and reading exercises: what a step needs beside facts. What is to be learned stands between « and ». */
import type { Random } from '../../src/shared/random.ts'

const number = (random: Random): number => random.integer(0, random.pick([9, 99, 99, 400]))

function expression(random: Random): string[] {
  const terms = random.integer(2, 5)
  return Array.from({ length: 2 * terms - 1 }, (_, i) =>
    i % 2 === 1 ? random.pick(['+', '-', '*']) : String(random.integer(1, 50))
  )
}

const EXERCISES: readonly ((random: Random) => string)[] = [
  (random) => {
    const text = expression(random).join('')
    return `copy ${text}: «${text}»`
  },
  // a part of an expression replaced, as a step does it
  (random) => {
    const parts = expression(random)
    const at = 2 * random.integer(0, (parts.length - 3) / 2)
    const result = String(number(random))
    const after = [...parts.slice(0, at), result, ...parts.slice(at + 3)].join('')
    return `${parts.join('')} with ${parts.slice(at, at + 3).join('')} as ${result}: «${after}»`
  },
  (random) => {
    const value = number(random)
    return `digits of ${value}: «${[...String(value)].join(' ')}»`
  },
  (random) => {
    const value = number(random)
    return `answer ${value}: «\\boxed{${value}}»`
  },
  (random) => {
    const text = expression(random).join('')
    return `answer ${text}: «\\boxed{${text}}»`
  },
  (random) => {
    const [a, b] = [number(random), number(random)]
    const shown = random.next() < 0.5 ? a : b
    return `${a} is ${shown}? «${a === shown ? 'yes' : 'no'}»`
  }
]

/** `ease` is the share of plain copying. */
export const exercise = (random: Random, ease: number): string =>
  (random.next() < ease ? EXERCISES[0]! : random.pick(EXERCISES))(random)
