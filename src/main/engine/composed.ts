/**
 * Operations that a backend may lack (Metal has no backward of softmax, RMS norm and broadcast), written with operations
 * that all of them have. `Graph` turns to these when the device says no, so that nothing leaves the device.
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
