/** The gated feed-forward of a layer, from its normed input h [d, T] to the output of `down` [d, T]; T: tokens of the tape. */
import type { ModelConfig } from '../arch/architecture.ts'
import type { Tensor } from '../tensor.ts'
import type { Gated } from './gated.ts'
import type { Tape } from './tape.ts'

/** How gate and up [f, T] come of h. */
export type Gates = {
  forward(t: Tape, h: Tensor): void
  recall(t: Tape): { readonly gate: Tensor; readonly up: Tensor }
  backward(t: Tape, h: Tensor, dGate: Tensor, dUp: Tensor): Tensor
  kept(c: ModelConfig, tokens: number): Readonly<Record<string, readonly number[]>>
}

/** Two matrices `gate` and `up`. */
export const separateGates: Gates = {
  kept: (c, tokens) => ({ gate: [c.feedForward, tokens], up: [c.feedForward, tokens] }),
  forward(t, h) {
    t.keep('gate', t.linear('gate', h))
    t.keep('up', t.linear('up', h))
  },
  recall: (t) => ({ gate: t.kept('gate'), up: t.kept('up') }),
  backward: (t, h, dGate, dUp) => t.g.add(t.linearBack('gate', h, dGate), t.linearBack('up', h, dUp))
}

/** One matrix `gateUp` whose rows are those of gate, then up. */
export const fusedGates: Gates = {
  kept: (c, tokens) => ({ 'gate up': [2 * c.feedForward, tokens] }),
  forward: (t, h) => void t.keep('gate up', t.linear('gateUp', h)),
  recall(t) {
    const both = t.kept('gate up')
    const half = (from: number): Tensor => t.g.window(both, [t.config.feedForward, both.ne[1], 1, 1], [from, 0, 0, 0])
    return { gate: half(0), up: half(t.config.feedForward) }
  },
  backward: (t, h, dGate, dUp) => t.linearBack('gateUp', h, t.g.concat(dGate, dUp, 0))
}

export function feedForward(t: Tape, gates: Gates, gated: Gated, h: Tensor): Tensor {
  gates.forward(t, t.note('fed', h))
  const { gate, up } = gates.recall(t)
  return t.linear('down', t.note('activated', gated.forward(t.g, gate, up)))
}

/** dL/dh from dL/doutput; `again` makes h once more where it was not saved. */
export function feedForwardBack(t: Tape, gates: Gates, gated: Gated, again: () => Tensor, dy: Tensor): Tensor {
  const { gate, up } = gates.recall(t)
  const activated = t.noted('activated', () => gated.forward(t.g, gate, up))
  const { dGate, dUp } = gated.backward(t.g, gate, up, t.linearBack('down', activated, dy))
  return gates.backward(t, t.noted('fed', again), dGate, dUp)
}
