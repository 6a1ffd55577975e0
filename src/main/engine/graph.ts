/** Operations of ggml graphs that compute. Every one checks its operands' shapes and says what was expected. */
import * as composed from './composed.ts'
import { GraphLayout } from './graph-layout.ts'
import { need } from './graph-nodes.ts'
import type { Rope } from './rope.ts'
import { elements, isContiguous, sameShape, shape, TYPE } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** ggml.h, ggml_prec. */
export const PRECISION_F32 = 10
/** ggml.h, ggml_tri_type: what lies right of the diagonal, with a column of ours as a row. */
const TRI_UPPER = 1

export class Graph extends GraphLayout {
  /**
   * [k, m] × [k, n, …] → [m, n, …]; dimensions 2 and 3 of `a` repeat over those of `b`. Sums are asked for in F32: GPU
   * backends would otherwise add up in F16 where `a` is F16 or quantised, in which attention loses small weights and the
   * backward loses gradients under 6e-8.
   */
  mulMat(a: Tensor, b: Tensor): Tensor {
    need(a.ne[0] === b.ne[0] && b.ne[2] % a.ne[2] === 0 && b.ne[3] % a.ne[3] === 0, 'mulMat', a, b)
    need(a.nb[0] <= a.nb[1] && b.type === TYPE.F32, 'mulMat (rows of the first must be contiguous)', a, b)
    const [x, y] = this.backend.multipliesViews ? [a, b] : [this.cont(a), this.cont(b)]
    const node = this.made(this.ggml.mul_mat(this.context, x.ptr, y.ptr), shape(a.ne[1], b.ne[1], b.ne[2], b.ne[3]))
    this.ggml.mul_mat_set_prec(node.ptr, PRECISION_F32)
    return node
  }

  /** Σᵣ aᵣ bᵣᵀ over the columns of a [n, r] and b [m, r], both F32 → [n, m]; `b` may be a transposed view. */
  outProd(a: Tensor, b: Tensor): Tensor {
    need(a.ne[1] === b.ne[1] && a.nb[0] <= a.nb[1] && a.ne[2] === b.ne[2], 'outProd', a, b)
    return this.made(this.ggml.out_prod(this.context, a.ptr, b.ptr), shape(a.ne[0], b.ne[0], a.ne[2]))
  }

  #broadcast(name: 'add' | 'mul' | 'sub' | 'div', a: Tensor, b: Tensor): Tensor {
    need(
      a.ne.every((n, i) => n % b.ne[i]! === 0),
      name,
      a,
      b
    )
    return this.made(this.ggml[name](this.context, a.ptr, b.ptr), a.ne)
  }

  /** Elementwise; `b` repeats over `a`. */
  add(a: Tensor, b: Tensor): Tensor {
    return this.#broadcast('add', a, b)
  }

  sub(a: Tensor, b: Tensor): Tensor {
    return this.#broadcast('sub', a, b)
  }

  mul(a: Tensor, b: Tensor): Tensor {
    return this.#broadcast('mul', a, b)
  }

  div(a: Tensor, b: Tensor): Tensor {
    return this.#broadcast('div', a, b)
  }

  scale(a: Tensor, factor: number): Tensor {
    return this.made(this.ggml.scale(this.context, this.plain(a, 'scale').ptr, factor), a.ne)
  }

  /** factor · a + bias */
  scaleBias(a: Tensor, factor: number, bias: number): Tensor {
    return this.made(this.ggml.scale_bias(this.context, this.plain(a, 'scaleBias').ptr, factor, bias), a.ne)
  }

  sqr(a: Tensor): Tensor {
    return this.made(this.ggml.sqr(this.context, a.ptr), a.ne)
  }

  sqrt(a: Tensor): Tensor {
    return this.made(this.ggml.sqrt(this.context, a.ptr), a.ne)
  }

  log(a: Tensor): Tensor {
    return this.made(this.ggml.log(this.context, a.ptr), a.ne)
  }

  /** [a, b, …] → [1] */
  sum(a: Tensor): Tensor {
    return this.made(this.ggml.sum(this.context, a.ptr), shape(1))
  }

  /** [n, m, …] → [1, m, …] */
  sumRows(a: Tensor): Tensor {
    return this.made(this.ggml.sum_rows(this.context, a.ptr), shape(1, a.ne[1], a.ne[2], a.ne[3]))
  }

  /** Sums `a` over every dimension in which `like` is smaller: the backward of a repeat. */
  sumTo(a: Tensor, like: Tensor): Tensor {
    need(
      a.ne.every((n, i) => n % like.ne[i]! === 0),
      'sumTo',
      a,
      like
    )
    const kernel = this.kernel(this.ggml.repeat_back(this.context, a.ptr, like.ptr), like.ne)
    if (kernel) return kernel
    need(elements(like) === a.ne[0] && a.ne[2] === 1 && a.ne[3] === 1, 'sumTo without a kernel', a, like)
    return composed.sumOfColumns(this, a)
  }

  /** [n, m] → I32 [m], the index of each column's largest element. */
  argmax(a: Tensor): Tensor {
    need(a.ne[2] === 1 && a.ne[3] === 1, 'argmax', a)
    return this.made(this.ggml.argmax(this.context, a.ptr), shape(a.ne[1]), TYPE.I32)
  }

  silu(a: Tensor): Tensor {
    return this.made(this.ggml.silu(this.context, a.ptr), a.ne)
  }

  /** silu(gate) ∘ up */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    need(sameShape(gate, up), 'swiglu', gate, up)
    return this.made(this.ggml.swiglu_split(this.context, gate.ptr, up.ptr), gate.ne)
  }

  /** gelu(gate) ∘ up, by the approximation with tanh. */
  geglu(gate: Tensor, up: Tensor): Tensor {
    need(sameShape(gate, up), 'geglu', gate, up)
    return this.made(this.ggml.geglu_split(this.context, gate.ptr, up.ptr), gate.ne)
  }

  /** x / rms(x) per column, without the weight. */
  rmsNorm(x: Tensor, eps: number): Tensor {
    return this.made(this.ggml.rms_norm(this.context, x.ptr, eps), x.ne)
  }

  rmsNormBack(dy: Tensor, x: Tensor, eps: number): Tensor {
    need(sameShape(dy, x), 'rmsNormBack', dy, x)
    const kernel = this.kernel(this.ggml.rms_norm_back(this.context, dy.ptr, x.ptr, eps), x.ne)
    return kernel ?? composed.rmsNormBack(this, dy, x, eps)
  }

  /** softmax(scale · a + mask) per column; mask [keys, queries] repeats over the other dimensions. */
  softMax(a: Tensor, mask: Tensor | null, scale: number): Tensor {
    need(isContiguous(this.backend.native, a), 'softMax', a)
    if (mask) need(mask.ne[0] === a.ne[0] && mask.ne[1] >= a.ne[1], 'softMax', a, mask)
    return this.made(this.ggml.soft_max_ext(this.context, a.ptr, mask?.ptr ?? null, scale, 0), a.ne)
  }

  /**
   * −∞ where row i of column j has i > j + past: what lies behind a query. The allocator computes it in place. A device
   * without a kernel adds the rows of `stairs` that end with a's: see there.
   */
  maskBehind(a: Tensor, past: number, stairs: () => Tensor): Tensor {
    const [m, n] = a.ne
    need(isContiguous(this.backend.native, a) && past >= 0 && past + n === m, 'maskBehind', a)
    const kernel = this.kernel(this.ggml.diag_mask_inf(this.context, a.ptr, past), a.ne)
    if (kernel) return kernel
    const [tokens, steps] = [stairs().ne[0] - stairs().ne[1], stairs().ne[1]]
    need(past <= tokens && n <= steps, 'maskBehind', a, stairs())
    return this.add(a, this.window(stairs(), [m, n, 1, 1], [tokens - past, 0, 0, 0]))
  }

  /**
   * [tokens + steps, steps]: 0 down to row tokens + its column, −∞ behind it (−1e30 where it is composed: nothing is left of
   * either after a softmax). The m rows from row tokens − past on are the mask of any n ≤ steps queries that see, of
   * m = past + n keys, all up to themselves.
   */
  stairs(tokens: number, steps: number): Tensor {
    const flat = this.fill(this.blank(tokens + steps, steps), 0)
    const kernel = this.kernel(this.ggml.diag_mask_inf(this.context, flat.ptr, tokens), flat.ne)
    return kernel ?? composed.stairs(this, tokens, steps)
  }

  /** a [n, n] where row i of column j has i > j, zero elsewhere. */
  behindDiagonal(a: Tensor): Tensor {
    need(isContiguous(this.backend.native, a) && a.ne[0] === a.ne[1], 'behindDiagonal', a)
    return this.made(this.ggml.tri(this.context, a.ptr, TRI_UPPER), a.ne)
  }

  /** `y` is the softmax's own output. */
  softMaxBack(dy: Tensor, y: Tensor, scale: number): Tensor {
    need(sameShape(dy, y), 'softMaxBack', dy, y)
    const kernel = this.kernel(this.ggml.soft_max_ext_back(this.context, dy.ptr, y.ptr, scale, 0), y.ne)
    return kernel ?? composed.softMaxBack(this, dy, y, scale)
  }

  /**
   * softmax(scale · kᵀq + mask) · v in one operation: q [D, n, H], k and v [D, m, K], mask F16 [m, n] → [D, H, n], with K
   * dividing H. In F32 only where the backend says so.
   */
  flashAttention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number): Tensor {
    need(q.ne[0] === k.ne[0] && sameShape(k, v) && q.ne[2] % k.ne[2] === 0, 'flashAttention', q, k, v)
    need(mask.ne[0] === k.ne[1] && mask.ne[1] === q.ne[1] && mask.type === TYPE.F16, 'flashAttention', q, k, mask)
    const ptr = this.ggml.flash_attn_ext(this.context, q.ptr, k.ptr, v.ptr, this.cont(mask).ptr, scale, 0, 0)
    const node = this.made(ptr, shape(v.ne[0], q.ne[2], q.ne[1]))
    this.ggml.flash_attn_ext_set_prec(node.ptr, PRECISION_F32)
    return node
  }

  /** x [headDim, heads, T], positions I32 [T] */
  rope(x: Tensor, positions: Tensor, factors: Tensor | null, r: Rope): Tensor {
    return this.#rope('rope_ext', x, positions, factors, r)
  }

  ropeBack(dy: Tensor, positions: Tensor, factors: Tensor | null, r: Rope): Tensor {
    return this.#rope('rope_ext_back', dy, positions, factors, r)
  }

  #rope(name: 'rope_ext' | 'rope_ext_back', x: Tensor, positions: Tensor, factors: Tensor | null, r: Rope): Tensor {
    need(x.ne[2] === positions.ne[0] && r.dimensions <= x.ne[0], name, x, positions)
    // prettier-ignore
    const ptr = this.ggml[name](
      this.context, x.ptr, positions.ptr, factors?.ptr ?? null, r.dimensions, r.mode, r.contextLength,
      r.base, r.scale, r.extFactor, r.attnFactor, r.betaFast, r.betaSlow
    )
    return this.made(ptr, x.ne)
  }

  /** Rows of `table` [n, rows] (any type) at `rows` I32 [m] → F32 [n, m] */
  getRows(table: Tensor, rows: Tensor): Tensor {
    need(table.ne[2] === rows.ne[1] && rows.type === TYPE.I32, 'getRows', table, rows)
    return this.made(this.ggml.get_rows(this.context, table.ptr, rows.ptr), shape(table.ne[0], rows.ne[0], rows.ne[1]))
  }

  /** Adds column i of `dy` [n, m] to row `rows[i]` of a zero table shaped as `table`. */
  getRowsBack(dy: Tensor, rows: Tensor, table: Tensor): Tensor {
    need(dy.ne[0] === table.ne[0] && dy.ne[1] === rows.ne[0], 'getRowsBack', dy, rows, table)
    return this.made(this.ggml.get_rows_back(this.context, dy.ptr, rows.ptr, table.ptr), table.ne)
  }

  /** Writes column i of `from` [n, m] to column `rows[i]` of `into`, in place. Rows must differ. */
  setRows(into: Tensor, from: Tensor, rows: Tensor): Tensor {
    need(into.ne[0] === from.ne[0] && from.ne[1] === rows.ne[0], 'setRows', into, from, rows)
    return this.made(this.ggml.set_rows(this.context, into.ptr, from.ptr, rows.ptr), into.ne, into.type)
  }

  addInto(into: Tensor, what: Tensor): Tensor {
    need(sameShape(into, what), 'addInto', into, what)
    return this.made(this.ggml.add_inplace(this.context, into.ptr, what.ptr), into.ne)
  }

  /** AdamW in place on `parameter`; `settings` F32 [7]: rate, beta1, beta2, eps, decay, 1/(1−β₁ᵗ), 1/(1−β₂ᵗ). */
  adamw(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, settings: Tensor): Tensor {
    need(sameShape(parameter, gradient) && sameShape(m, v) && elements(settings) === 7, 'adamw', parameter, gradient)
    this.ggml.set_param(parameter.ptr)
    return this.made(
      this.ggml.opt_step_adamw(this.context, parameter.ptr, gradient.ptr, m.ptr, v.ptr, settings.ptr),
      parameter.ne
    )
  }
}

export { GraphAllocator } from './graph-allocator.ts'
