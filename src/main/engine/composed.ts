/**
 * Operations that a backend may lack (Metal has no backward of softmax, RMS norm and broadcast, and no causal mask), written
 * with operations that all of them have. `Graph` turns to these when the device says no, so that nothing leaves the device.
 */
import type { Graph } from './graph.ts'
import type { Tensor } from './tensor.ts'

/** dx of y = softmax(scale · x + mask) per column: scale · y ∘ (dy − Σ dy∘y). */
export function softMaxBack(g: Graph, dy: Tensor, y: Tensor, scale: number): Tensor {
  return g.scale(g.mul(g.sub(dy, g.sumRows(g.mul(dy, y))), y), scale)
}

/** dx of y = x / r per column of d elements with r = √(mean x² + ε): (dy − y · mean(dy∘y)) / r. */
export function rmsNormBack(g: Graph, dy: Tensor, x: Tensor, eps: number): Tensor {
  const d = x.ne[0]
  const y = g.rmsNorm(x, eps)
  const root = g.sqrt(g.scaleBias(g.sumRows(g.sqr(x)), 1 / d, eps))
  return g.div(g.sub(dy, g.mul(y, g.scale(g.sumRows(g.mul(dy, y)), 1 / d))), root)
}

/** a [d, T] summed over its columns → [d]. */
export function sumOfColumns(g: Graph, a: Tensor): Tensor {
  return g.reshape(g.sumRows(g.transposed(a)), a.ne[0])
}

/** Far under any score, yet finite: Metal multiplies by zero to cut triangles, and its fast math knows no infinities. */
const OUT_OF_SIGHT = -1e30

/** [tokens + steps, steps]: 0 down to row tokens + its column, OUT_OF_SIGHT behind it. */
export function stairs(g: Graph, tokens: number, steps: number): Tensor {
  const behind = g.behindDiagonal(g.fill(g.blank(steps, steps), OUT_OF_SIGHT))
  return g.concat(g.fill(g.blank(tokens, steps), 0), behind, 0)
}
