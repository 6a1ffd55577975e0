/** The gated activation silu(gate) ∘ up and its backward. */
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'

/** Moves an exact zero off the division below; far under the rounding of any other value. */
const OFF_ZERO = 1e-12

export function swigluBack(g: Graph, gate: Tensor, up: Tensor, dy: Tensor): { dGate: Tensor; dUp: Tensor } {
  // silu'(x) = σ(x)·(1 + x − silu(x)) with σ(x) = silu(x) / x: silu is vectorised on every backend, while ggml's own
  // silu_back calls a scalar exp on the CPU and took eight times as long.
  const x = g.scaleBias(gate, 1, OFF_ZERO)
  const activated = g.silu(x)
  const slope = g.mul(g.div(activated, x), g.scaleBias(g.sub(x, activated), 1, 1))
  return { dGate: g.mul(g.mul(dy, up), slope), dUp: g.mul(dy, activated) }
}
