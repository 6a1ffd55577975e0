/** The layer that most families have: x₁ = x + attention(norm(x)), y = x₁ + feedForward(norm(x₁)). */
import type { Architecture } from '../arch/architecture.ts'
import { feedForward, feedForwardBack } from './feed-forward.ts'
import type { Gates } from './feed-forward.ts'
import type { Gated } from './gated.ts'
import type { Heads } from './heads.ts'

/** Needs the norms `attention` and `feedForward`, and the linears of its heads and gates, `o` and `down`. */
export const preNormLayer = ({
  heads,
  gates,
  gated
}: {
  readonly heads: Heads
  readonly gates: Gates
  readonly gated: Gated
}): Pick<Architecture, 'heads' | 'kept' | 'forward' | 'backward'> => ({
  heads,
  kept: gates.kept,

  forward(t, x, o) {
    const x1 = t.note('x1', t.g.add(t.linear('o', o), x))
    return t.g.add(feedForward(t, gates, gated, t.norm('feedForward', x1)), x1)
  },

  backward(t, x, o, dy) {
    // one small product again, where to keep x₁ would take a ninth of all that layers keep
    const x1 = t.noted('x1', () => t.g.add(t.linear('o', o), x))
    const dh1 = feedForwardBack(t, gates, gated, () => t.norm('feedForward', x1), dy)
    const dx1 = t.g.add(t.normBack('feedForward', x1, dh1), dy)
    return { dx: dx1, dO: t.linearBack('o', o, dx1) }
  }
})
