/** RMS norm with a weight: y = x / rms(x) ∘ γ, per column of x [d, T]; γ [d]. */
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'

export type Norm = {
  readonly name: string
  readonly weight: Tensor
  readonly gradient: Tensor | null
  readonly eps: number
}

export function norm(g: Graph, layer: Norm, x: Tensor): Tensor {
  return g.mul(g.rmsNorm(x, layer.eps), layer.weight)
}

/** Adds dL/dγ when γ is trained, and returns dL/dx. */
export function normBack(g: Graph, layer: Norm, x: Tensor, dy: Tensor): Tensor {
  if (layer.gradient) g.run(g.addInto(layer.gradient, g.sumTo(g.mul(dy, g.rmsNorm(x, layer.eps)), layer.gradient)))
  return g.rmsNormBack(g.mul(dy, layer.weight), x, layer.eps)
}
