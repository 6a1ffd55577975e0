/** Chains of made-up conversions: `1 box = 3 bag, 1 bag = 4 cup. 2 box = ? cup` The thought follows them link by link. */
import type { Random } from '../../../shared/random.ts'
import { checkNumber, familyData, familyTask, levelOf, type Family } from './family.ts'

/** `1 from = factor to`. */
type Link = { readonly from: string; readonly factor: number; readonly to: string }
type Amount = { readonly count: number; readonly unit: string }
type Data = { readonly facts: readonly Link[]; readonly amounts: readonly Amount[]; readonly unit: string }
/** `extra`: a second amount, one link further. `backward`: half of the tasks ask from the small unit to the large one. */
type Level = { links: number; factor: number; count: number; strays: number; extra: boolean; backward: boolean }

const UNITS = ['box', 'bag', 'cup', 'jar', 'tin', 'tub', 'bin', 'can', 'pot', 'set'] as const
const LEVELS: readonly Level[] = [
  { links: 1, factor: 5, count: 5, strays: 0, extra: false, backward: false },
  { links: 2, factor: 4, count: 4, strays: 0, extra: false, backward: false },
  { links: 2, factor: 6, count: 5, strays: 1, extra: false, backward: false },
  { links: 2, factor: 6, count: 6, strays: 1, extra: false, backward: true },
  { links: 3, factor: 4, count: 5, strays: 1, extra: true, backward: false },
  { links: 3, factor: 5, count: 6, strays: 2, extra: true, backward: true }
]
const beyond = (difficulty: number): Level => ({
  links: Math.min(6, difficulty - 3),
  factor: 5,
  count: 9,
  strays: 2,
  extra: true,
  backward: true
})

/** The links from one unit to another in order, each with its direction; null where there is no way. */
function way(
  facts: readonly Link[],
  from: string,
  to: string,
  seen: readonly string[] = []
): (Link & { down: boolean })[] | null {
  if (from === to) return []
  for (const fact of facts) {
    const down = fact.from === from
    const next = down ? fact.to : fact.to === from ? fact.from : undefined
    if (next === undefined || seen.includes(next)) continue
    const rest = way(facts, next, to, [...seen, from])
    if (rest) return [{ ...fact, down }, ...rest]
  }
  return null
}

/** One amount carried to `unit`: the count, and each link as text. */
function convert(facts: readonly Link[], amount: Amount, unit: string): { count: number; steps: string[] } {
  const links = way(facts, amount.unit, unit)
  if (!links) throw new TypeError(`no way from ${amount.unit} to ${unit}`)
  const steps: string[] = []
  let { count, unit: at } = amount
  for (const { from, factor, to, down } of links) {
    const [next, result] = down ? [to, count * factor] : [from, count / factor]
    steps.push(`${count} ${at} = ${count}${down ? '*' : '/'}${factor} ${next} = ${result} ${next}`)
    ;[at, count] = [next, result]
  }
  return { count, steps }
}

const total = ({ facts, amounts, unit }: Data): number =>
  amounts.reduce((sum, amount) => sum + convert(facts, amount, unit).count, 0)

function makeData(level: Level, random: Random): Data {
  const units = random.shuffle(UNITS)
  const chain = Array.from({ length: level.links }, (_, i) => ({
    from: units[i]!,
    factor: random.integer(2, level.factor),
    to: units[i + 1]!
  }))
  const strays = Array.from({ length: level.strays }, (_, i) => ({
    from: units[level.links + 1 + i]!,
    factor: random.integer(2, level.factor),
    to: units[random.integer(0, level.links)]!
  }))
  const [top, bottom] = [units[0]!, units[level.links]!]
  const facts = level.strays > 0 ? random.shuffle([...chain, ...strays]) : chain
  const amount = { count: random.integer(1, level.count), unit: top }
  if (level.backward && random.next() < 0.5) {
    return { facts, amounts: [{ count: convert(chain, amount, bottom).count, unit: bottom }], unit: top }
  }
  const extra = level.extra ? [{ count: random.integer(1, level.count), unit: units[1]! }] : []
  return { facts, amounts: [amount, ...extra], unit: bottom }
}

export const chain: Family = {
  name: 'chain',
  generate(difficulty, random) {
    const data = makeData(levelOf(LEVELS, difficulty, beyond), random)
    const facts = data.facts.map(({ from, factor, to }) => `1 ${from} = ${factor} ${to}`).join(', ')
    const asked = data.amounts.map(({ count, unit }) => `${count} ${unit}`).join(' + ')
    return familyTask('chain', difficulty, {
      prompt: `${facts}. ${asked} = ? ${data.unit}`,
      solution: String(total(data)),
      data
    })
  },
  /** From the prompt alone: what one of each unit is worth, spread along the facts until nothing changes. */
  solve(task) {
    const [facts = '', question = ''] = task.prompt.split('. ')
    const [amounts = '', unit = ''] = question.split(' = ? ')
    const worth = new Map([[unit, 1]])
    for (let round = 0; round < UNITS.length; round++) {
      for (const [, from, factor, to] of facts.matchAll(/1 (\w+) = (\d+) (\w+)/g)) {
        if (worth.has(to!)) worth.set(from!, worth.get(to!)! * Number(factor))
        else if (worth.has(from!)) worth.set(to!, worth.get(from!)! / Number(factor))
      }
    }
    const counts = [...amounts.matchAll(/(\d+) (\w+)/g)].map(([, count, of]) => Number(count) * worth.get(of!)!)
    return String(Math.round(counts.reduce((sum, count) => sum + count, 0) * 1e6) / 1e6)
  },
  teach(task) {
    const data = familyData<Data>(task, 'chain')
    const parts = data.amounts.map((amount) => convert(data.facts, amount, data.unit))
    const steps = parts.flatMap((part) => part.steps)
    const sum = total(data)
    if (parts.length > 1) steps.push(`${parts.map(({ count }) => count).join('+')}=${sum} ${data.unit}`)
    return { thinking: steps.join('; '), answer: `\\boxed{${sum}}` }
  },
  check: checkNumber
}
