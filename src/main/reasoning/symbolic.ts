/**
 * The symbolic step: do two LaTeX expressions mean the same? Runs only in a child process that can be killed, because
 * simplification may take for ever (`9^{9^{9^9}}`). Equal when the engine says so, when the expanded difference is zero,
 * or when both agree at every sampled point; different when a sampled point tells them apart.
 */
import { ComputeEngine } from '@cortex-js/compute-engine'
import type { Outcome } from './equality.ts'

/** Irrational-looking points, some negative, none special to any function. */
const POINTS = [0.73205, 1.41093, -0.58779, 2.23901, 3.31662, -1.73019, 0.11357, 5.09902]
const MIN_POINTS = 4
/** Relative difference up to which two sampled values are the same. */
const TOLERANCE = 1e-9

/** A comparer with its own engine (about half a second to make). gold and answer: LaTeX or plain notation. */
export function symbolicComparer(): (gold: string, answer: string) => Outcome {
  const engine = new ComputeEngine()
  type Boxed = NonNullable<ReturnType<typeof engine.parse>>

  const sides = (text: string): Boxed[] | null => {
    const parts = text.split('=')
    const parsed = parts.map((part) => engine.parse(part)).filter((part) => part !== null)
    const usable = parsed.length === parts.length && parts.length <= 2
    return usable && parsed.every((part) => part.isValid && String(part) !== 'Nothing') ? parsed : null
  }
  const valueAt = (expression: Boxed, at: Record<string, number>): { re: number; im: number } | null => {
    const value = expression.subs(at).N()
    const { re, im } = value
    return Number.isFinite(re) && Number.isFinite(im) ? { re, im } : null
  }

  const compare = (a: Boxed, b: Boxed): Outcome => {
    if (a.isSame(b)) return 'equal'
    const unknowns = [...new Set([...a.unknowns, ...b.unknowns])]
    if (unknowns.length === 0) {
      const said = a.isEqual(b)
      if (said === true) return 'equal'
    }
    let agreed = 0
    for (let i = 0; i < POINTS.length; i++) {
      const at = Object.fromEntries(unknowns.map((name, j) => [name, POINTS[(i + 3 * j) % POINTS.length]! + 0.137 * j]))
      const [x, y] = [valueAt(a, at), valueAt(b, at)]
      if (x === null || y === null) continue
      const scale = Math.max(Math.hypot(x.re, x.im), Math.hypot(y.re, y.im), 1e-12)
      if (Math.hypot(x.re - y.re, x.im - y.im) / scale > TOLERANCE) return 'different'
      agreed++
    }
    if (agreed >= MIN_POINTS) return 'equal'
    const said = a.isEqual(b)
    return said === undefined ? 'undecided' : said ? 'equal' : 'different'
  }

  return (gold, answer) => {
    const [golds, answers] = [sides(gold), sides(answer)]
    if (!golds || !answers) return 'undecided'
    if (golds.length === 1 && answers.length === 1) return compare(golds[0]!, answers[0]!)
    if (golds.length !== answers.length) return 'different'
    // Two equations: the same solutions when left − right differ only by a constant factor. Points cannot show zero sets,
    // so the quotient is compared with its own value at another point.
    const [f, g] = [golds, answers].map(([left, right]) => left!.sub(right!))
    const unknowns = [...new Set([...f!.unknowns, ...g!.unknowns])]
    const quotients = POINTS.map((_, i) => {
      const at = Object.fromEntries(unknowns.map((name, j) => [name, POINTS[(i + 3 * j) % POINTS.length]! + 0.137 * j]))
      const [x, y] = [valueAt(f!, at), valueAt(g!, at)]
      return x === null || y === null || x.im !== 0 || y.im !== 0 || y.re === 0 ? null : x.re / y.re
    }).filter((quotient) => quotient !== null)
    const first = quotients[0]
    if (first === undefined || quotients.length < MIN_POINTS || first === 0) return 'undecided'
    return quotients.every((quotient) => Math.abs(quotient / first - 1) < TOLERANCE) ? 'equal' : 'different'
  }
}
