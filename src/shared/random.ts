/**
 * A seeded random source with a state that can be saved: xoshiro128** seeded by splitmix32 over a string label, so that
 * `seeded(seed, 'rollout', step, i)` gives every part of a run its own stream, whatever order the parts run in.
 */
export type RandomState = readonly [number, number, number, number]

export type Random = {
  /** Uniform in [0, 1), 32 bits. */
  next(): number
  /** Uniform integer in [low, high], both included. */
  integer(low: number, high: number): number
  /** Fills an array with `integer(0, below - 1)`, the same numbers as one by one, at a fraction of the time. */
  fillBelow(into: Uint32Array, below: number): void
  /** Standard normal (Box–Muller, no cached second value so that the state is all there is). */
  normal(): number
  pick<T>(items: readonly T[]): T
  /** A shuffled copy (Fisher–Yates). */
  shuffle<T>(items: readonly T[]): T[]
  state(): RandomState
}

const rotl = (x: number, k: number): number => (x << k) | (x >>> (32 - k))

function hash(parts: readonly (string | number)[]): number {
  let h = 0x811c9dc5
  for (const char of parts.join('\u0000')) h = Math.imul(h ^ char.codePointAt(0)!, 0x01000193)
  return h >>> 0
}

export function seeded(...parts: readonly (string | number)[]): Random {
  let s = hash(parts)
  const splitmix = (): number => {
    s = (s + 0x9e3779b9) | 0
    let z = s
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  return restored([splitmix(), splitmix(), splitmix(), splitmix() || 1])
}

export function restored(state: RandomState): Random {
  let [a, b, c, d] = state
  const bits = (): number => {
    const result = Math.imul(rotl(Math.imul(b, 5), 7), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = rotl(d, 11)
    return result
  }
  const random: Random = {
    next: () => bits() / 0x100000000,
    integer: (low, high) => low + Math.floor(random.next() * (high - low + 1)),
    fillBelow: (into, below) => {
      // The state in locals, where `bits` keeps it in the closure: that is what the time goes into.
      let [w, x, y, z] = [a | 0, b | 0, c | 0, d | 0]
      for (let i = 0; i < into.length; i++) {
        into[i] = ((Math.imul(rotl(Math.imul(x, 5), 7), 9) >>> 0) * 2 ** -32 * below) >>> 0
        const t = x << 9
        y ^= w
        z ^= x
        x ^= y
        w ^= z
        y ^= t
        z = rotl(z, 11)
      }
      ;[a, b, c, d] = [w, x, y, z]
    },
    normal: () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next()),
    pick: (items) => items[random.integer(0, items.length - 1)]!,
    shuffle: (items) => {
      const copy = [...items]
      for (let i = copy.length - 1; i > 0; i--) {
        const j = random.integer(0, i)
        ;[copy[i], copy[j]] = [copy[j]!, copy[i]!]
      }
      return copy
    },
    state: () => [a, b, c, d]
  }
  return random
}
