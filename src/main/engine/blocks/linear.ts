/**
 * A linear layer y = W·h + s·B·(A·h) + b and its backward. W is frozen (any ggml type) under LoRA, or itself trained (F32).
 * Shapes: h [in, T], y [out, T], W [in, out], A [in, r], B [r, out], b [out] or none.
 */
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'

export type LoraPair = {
  readonly a: Tensor
  readonly b: Tensor
  readonly gradA: Tensor
  readonly gradB: Tensor
  /** lora_alpha / r, or lora_alpha / sqrt(r) */
  readonly scale: number
}

/** One weight of the model with what training needs of it. */
export type Linear = {
  readonly name: string
  readonly weight: Tensor
  /** Wᵀ as data [out, in], in a type whose GEMM is fast. Absent while only sampling or scoring. */
  readonly transposed: Tensor | null
  readonly lora: LoraPair | null
  /** Set when W itself is trained. */
  readonly gradient: Tensor | null
  readonly bias: { readonly value: Tensor; readonly gradient: Tensor | null } | null
}

/** aᵣ uᵣ summed over the rank: a [n, r], u [r, T] → [n, T]; `rows` is aᵀ, for devices that want it so. */
function spread(g: Graph, a: () => Tensor, rows: () => Tensor, u: Tensor): Tensor {
  return u.ne[0] <= g.backend.outerRank ? g.outProd(a(), g.permute(u, [1, 0, 2, 3])) : g.mulMat(rows(), u)
}

/** y, and u = s·A·h [r, T], which the backward of B needs: the scale is applied where the data is thin. */
export function linear(g: Graph, layer: Linear, h: Tensor): { y: Tensor; u: Tensor | null } {
  const base = g.mulMat(layer.weight, h)
  const shifted = (y: Tensor): Tensor => (layer.bias ? g.add(y, layer.bias.value) : y)
  if (!layer.lora) return { y: shifted(base), u: null }
  const u = g.scale(g.mulMat(layer.lora.a, h), layer.lora.scale)
  const { b } = layer.lora
  const change = spread(
    g,
    () => g.transposed(b),
    () => b,
    u
  )
  return { y: shifted(g.add(base, change)), u }
}

/** Adds the gradients of what is trained here, and returns dL/dh [in, T]. */
export function linearBack(g: Graph, layer: Linear, h: Tensor, u: Tensor | null, dy: Tensor): Tensor {
  if (!layer.transposed) throw new Error(`${layer.name} has no transposed weight for the backward`)
  const dhBase = g.mulMat(layer.transposed, dy)
  if (layer.gradient) {
    g.run(g.addInto(layer.gradient, g.mulMat(g.transposed(h), g.transposed(dy)))) // Σₜ hₜ dyₜᵀ
  }
  if (layer.bias?.gradient) g.run(g.addInto(layer.bias.gradient, g.sumTo(dy, layer.bias.gradient)))
  if (!layer.lora) return dhBase
  const { a, b, gradA, gradB, scale } = layer.lora
  const scaledU = u ?? g.scale(g.mulMat(a, h), scale)
  g.run(g.addInto(gradB, g.mulMat(g.transposed(scaledU), g.transposed(dy)))) // [r, out]
  const du = g.scale(g.mulMat(g.transposed(b), dy), scale) // [r, T]
  g.run(g.addInto(gradA, g.mulMat(g.transposed(h), g.transposed(du)))) // [in, r]
  const dhChange = spread(
    g,
    () => a,
    () => g.transposed(a),
    du
  )
  return g.add(dhBase, dhChange)
}
