/** Gated activations f(gate) ∘ up and their backwards; gate and up [f, T] may be windows of one tensor. */
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'

export type Gated = {
  forward(g: Graph, gate: Tensor, up: Tensor): Tensor
  backward(g: Graph, gate: Tensor, up: Tensor, dy: Tensor): { readonly dGate: Tensor; readonly dUp: Tensor }
}

/** Moves an exact zero off the division below; far under the rounding of any other value. */
const OFF_ZERO = 1e-12

/**
 * silu(gate) ∘ up.
 * silu'(x) = σ(x)·(1 + x − silu(x)) with σ(x) = silu(x) / x: silu is vectorised on every backend, while ggml's own silu_back
 * calls a scalar exp on the CPU and took eight times as long.
 */
export const swiglu: Gated = {
  forward: (g, gate, up) => g.swiglu(gate, up),
  backward(g, gate, up, dy) {
    const x = g.scaleBias(g.cont(gate), 1, OFF_ZERO)
    const activated = g.silu(x)
    const slope = g.mul(g.div(activated, x), g.scaleBias(g.sub(x, activated), 1, 1))
    return { dGate: g.mul(g.mul(dy, up), slope), dUp: g.mul(dy, activated) }
  }
}

/** The constants of GELU's approximation by tanh, as ggml has them: tanh(A·x·(1 + B·x²)). */
const A = Math.sqrt(2 / Math.PI)
const B = 0.044715

/**
 * gelu(gate) ∘ up with GELU's approximation by tanh, which is x·σ(z), z = 2A·(x + B·x³); so its slope is
 * σ + x·σ·(1 − σ)·z', z' = 2A·(1 + 3B·x²). ggml has no backward for it.
 * ggml's CPU looks GELU up in a table of F16: the forward is a staircase with steps of 2⁻¹¹ of its value, the same that
 * llama.cpp takes. The slope here is that of the smooth function under it.
 */
export const geglu: Gated = {
  forward: (g, gate, up) => g.geglu(gate, up),
  backward(g, gate, up, dy) {
    const x = g.cont(gate)
    const { sigma, squared } = geluParts(g, x)
    const activated = g.mul(x, sigma)
    const curved = g.mul(g.mul(activated, g.scaleBias(sigma, -1, 1)), g.scaleBias(squared, 6 * A * B, 2 * A))
    return { dGate: g.mul(g.mul(dy, up), g.add(sigma, curved)), dUp: g.mul(dy, activated) }
  }
}

/** σ(z) and x² */
function geluParts(g: Graph, x: Tensor): { sigma: Tensor; squared: Tensor } {
  const squared = g.sqr(x)
  const z = g.scaleBias(g.mul(x, g.scaleBias(squared, 2 * A * B, 2 * A)), 1, OFF_ZERO)
  return { sigma: g.div(g.silu(z), z), squared }
}

/** GELU without the CPU's table: what central differences can be taken of. */
export const smoothGelu = (g: Graph, x: Tensor): Tensor => g.mul(x, geluParts(g, x).sigma)
