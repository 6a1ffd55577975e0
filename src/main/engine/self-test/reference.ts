/**
 * A `llama` of any size in double precision and plain loops: slow, and independent of everything the engine does. What the
 * self-test holds a device against; its gradients come from central differences.
 */

/** Matrices by their GGUF names, one row per output, as files hold them. */
export type ReferenceModel = {
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly keyHeads: number
  readonly headDim: number
  readonly vocabulary: number
  readonly normEps: number
  readonly ropeBase: number
  readonly loraScale: number
  readonly weights: ReadonlyMap<string, Float64Array>
}

/** log p(token | the tokens before it) of every token but the first. */
export function referenceLogprobs(m: ReferenceModel, tokens: ArrayLike<number>): number[] {
  const embedding = m.weights.get('token_embd.weight')!
  let rows: Float64Array[] = Array.from(tokens, (token) => embedding.slice(token * m.width, (token + 1) * m.width))
  for (let layer = 0; layer < m.layers; layer++) rows = decoderLayer(m, `blk.${layer}`, rows)
  return rows.slice(0, -1).map((row, t) => {
    const logits = matrix(m, 'output.weight', norm(m, 'output_norm.weight', row))
    const top = Math.max(...logits)
    return logits[tokens[t + 1]!]! - top - Math.log(logits.reduce((sum, z) => sum + Math.exp(z - top), 0))
  })
}

function decoderLayer(m: ReferenceModel, name: string, rows: readonly Float64Array[]): Float64Array[] {
  const normed = rows.map((row) => norm(m, `${name}.attn_norm.weight`, row))
  const q = normed.map((row, t) => rotated(m, matrix(m, `${name}.attn_q.weight`, row), t))
  const k = normed.map((row, t) => rotated(m, matrix(m, `${name}.attn_k.weight`, row), t))
  const v = normed.map((row) => matrix(m, `${name}.attn_v.weight`, row))
  return rows.map((row, t) => {
    const attended = new Float64Array(m.heads * m.headDim)
    for (let head = 0; head < m.heads; head++) {
      const from = head * m.headDim
      const keyFrom = Math.floor((head * m.keyHeads) / m.heads) * m.headDim
      const scores = Array.from({ length: t + 1 }, (_, s) => {
        let sum = 0
        for (let i = 0; i < m.headDim; i++) sum += q[t]![from + i]! * k[s]![keyFrom + i]!
        return sum / Math.sqrt(m.headDim)
      })
      const top = Math.max(...scores)
      const weights = scores.map((score) => Math.exp(score - top))
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      weights.forEach((weight, s) => {
        for (let i = 0; i < m.headDim; i++) attended[from + i]! += (weight / total) * v[s]![keyFrom + i]!
      })
    }
    const middle = plus(row, matrix(m, `${name}.attn_output.weight`, attended))
    const h = norm(m, `${name}.ffn_norm.weight`, middle)
    const gate = matrix(m, `${name}.ffn_gate.weight`, h)
    const act = matrix(m, `${name}.ffn_up.weight`, h).map((up, i) => (up * gate[i]!) / (1 + Math.exp(-gate[i]!)))
    return plus(middle, matrix(m, `${name}.ffn_down.weight`, act))
  })
}

const plus = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + b[i]!)

function norm(m: ReferenceModel, name: string, x: Float64Array): Float64Array {
  const weight = m.weights.get(name)!
  const rms = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + m.normEps)
  return x.map((value, i) => (value / rms) * weight[i]!)
}

/** W·x, plus scale · B·(A·x) where there is an adapter for W. */
function matrix(m: ReferenceModel, name: string, x: Float64Array): Float64Array {
  const y = product(m.weights.get(name)!, x)
  const [a, b] = [m.weights.get(`${name}.lora_a`), m.weights.get(`${name}.lora_b`)]
  if (!a || !b) return y
  const delta = product(b, product(a, x))
  return y.map((value, i) => value + m.loraScale * delta[i]!)
}

function product(w: Float64Array, x: Float64Array): Float64Array {
  const y = new Float64Array(w.length / x.length)
  for (let row = 0; row < y.length; row++) {
    let sum = 0
    for (let i = 0; i < x.length; i++) sum += w[row * x.length + i]! * x[i]!
    y[row] = sum
  }
  return y
}

/** Neighbouring pairs turned by position · base^(−2i / headDim). */
function rotated(m: ReferenceModel, x: Float64Array, position: number): Float64Array {
  const out = x.slice()
  for (let i = 0; i < x.length; i += 2) {
    const angle = position * m.ropeBase ** (-(i % m.headDim) / m.headDim)
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
    out[i] = x[i]! * cos - x[i + 1]! * sin
    out[i + 1] = x[i]! * sin + x[i + 1]! * cos
  }
  return out
}
