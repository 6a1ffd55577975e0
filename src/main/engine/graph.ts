/**
 * A thin builder of ggml graphs. Describing never computes: operations only add nodes; `GraphAllocator` gives the nodes
 * memory; `compute` runs them. Every operation checks its operands' shapes and says what was expected.
 */
import type { Backend } from './backend.ts'
import { compute } from './backend.ts'
import * as composed from './composed.ts'
import { bufferOf } from './ffi/libraries.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import type { Rope } from './rope.ts'
import { contiguousStrides, elements, isContiguous, sameShape, shape, shown, TYPE } from './tensor.ts'
import type { Shape, Tensor } from './tensor.ts'
import { transposedInParts } from './transposing.ts'

function need(condition: boolean, operation: string, ...operands: readonly Tensor[]): void {
  if (!condition) throw new Error(`${operation} does not accept ${operands.map(shown).join(' and ')}`)
}

/** ggml.h, ggml_prec. */
export const PRECISION_F32 = 10

export class Graph {
  readonly backend: Backend
  readonly #context: Owned<Pointer>
  readonly handle: Pointer
  readonly #transposes = new Map<Pointer, Tensor>()

  constructor(backend: Backend, capacity = 2048) {
    const { ggml } = backend.native
    this.backend = backend
    const bytes = ggml.tensor_overhead() * capacity + ggml.graph_overhead_custom(capacity, false)
    this.#context = new Owned('graph', ggml.init({ mem_size: bytes, mem_buffer: null, no_alloc: true })!, (it) =>
      ggml.free(it)
    )
    this.handle = ggml.new_graph_custom(this.#context.handle, capacity, false)!
  }

  get #c(): Pointer {
    return this.#context.handle
  }

  get #ggml(): Backend['native']['ggml'] {
    return this.backend.native.ggml
  }

  #made(ptr: Pointer | null, ne: Shape, type: number = TYPE.F32): Tensor {
    if (ptr === null) throw new Error('ggml returned no tensor')
    return { ptr, type, ne, nb: contiguousStrides(this.backend.native, type, ne) }
  }

  /** The node, when the device has a kernel for it; a node that is not added to the graph costs nothing. */
  #kernel(ptr: Pointer | null, ne: Shape): Tensor | null {
    return ptr !== null && this.backend.computes(ptr) ? this.#made(ptr, ne) : null
  }

  /**
   * [k, m] × [k, n, …] → [m, n, …]; dimensions 2 and 3 of `a` repeat over those of `b`. Sums are asked for in F32: GPU
   * backends would otherwise add up in F16 where `a` is F16 or quantised, in which attention loses small weights and the
   * backward loses gradients under 6e-8.
   */
  mulMat(a: Tensor, b: Tensor): Tensor {
    need(a.ne[0] === b.ne[0] && b.ne[2] % a.ne[2] === 0 && b.ne[3] % a.ne[3] === 0, 'mulMat', a, b)
    need(a.nb[0] <= a.nb[1] && b.type === TYPE.F32, 'mulMat (rows of the first must be contiguous)', a, b)
    const [x, y] = this.backend.multipliesViews ? [a, b] : [this.cont(a), this.cont(b)]
    const node = this.#made(this.#ggml.mul_mat(this.#c, x.ptr, y.ptr), shape(a.ne[1], b.ne[1], b.ne[2], b.ne[3]))
    this.#ggml.mul_mat_set_prec(node.ptr, PRECISION_F32)
    return node
  }

  /** Σᵣ aᵣ bᵣᵀ over the columns of a [n, r] and b [m, r], both F32 → [n, m]; `b` may be a transposed view. */
  outProd(a: Tensor, b: Tensor): Tensor {
    need(a.ne[1] === b.ne[1] && a.nb[0] <= a.nb[1] && a.ne[2] === b.ne[2], 'outProd', a, b)
    return this.#made(this.#ggml.out_prod(this.#c, a.ptr, b.ptr), shape(a.ne[0], b.ne[0], a.ne[2]))
  }

  #broadcast(name: 'add' | 'mul' | 'sub' | 'div', a: Tensor, b: Tensor): Tensor {
    need(
      a.ne.every((n, i) => n % b.ne[i]! === 0),
      name,
      a,
      b
    )
    return this.#made(this.#ggml[name](this.#c, a.ptr, b.ptr), a.ne)
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

  /** Of a window without gaps ggml keeps the wider strides of dimensions of one element; some operations refuse them. */
  #plain(a: Tensor, operation: string): Tensor {
    need(isContiguous(this.backend.native, a), operation, a)
    const strides = contiguousStrides(this.backend.native, a.type, a.ne)
    return a.nb.every((stride, i) => stride === strides[i]) ? a : this.reshape(a, ...a.ne)
  }

  scale(a: Tensor, factor: number): Tensor {
    return this.#made(this.#ggml.scale(this.#c, this.#plain(a, 'scale').ptr, factor), a.ne)
  }

  /** factor · a + bias */
  scaleBias(a: Tensor, factor: number, bias: number): Tensor {
    return this.#made(this.#ggml.scale_bias(this.#c, this.#plain(a, 'scaleBias').ptr, factor, bias), a.ne)
  }

  sqr(a: Tensor): Tensor {
    return this.#made(this.#ggml.sqr(this.#c, a.ptr), a.ne)
  }

  sqrt(a: Tensor): Tensor {
    return this.#made(this.#ggml.sqrt(this.#c, a.ptr), a.ne)
  }

  log(a: Tensor): Tensor {
    return this.#made(this.#ggml.log(this.#c, a.ptr), a.ne)
  }

  /** [a, b, …] → [1] */
  sum(a: Tensor): Tensor {
    return this.#made(this.#ggml.sum(this.#c, a.ptr), shape(1))
  }

  /** [n, m, …] → [1, m, …] */
  sumRows(a: Tensor): Tensor {
    return this.#made(this.#ggml.sum_rows(this.#c, a.ptr), shape(1, a.ne[1], a.ne[2], a.ne[3]))
  }

  /** Sums `a` over every dimension in which `like` is smaller: the backward of a repeat. */
  sumTo(a: Tensor, like: Tensor): Tensor {
    need(
      a.ne.every((n, i) => n % like.ne[i]! === 0),
      'sumTo',
      a,
      like
    )
    const kernel = this.#kernel(this.#ggml.repeat_back(this.#c, a.ptr, like.ptr), like.ne)
    if (kernel) return kernel
    need(elements(like) === a.ne[0] && a.ne[2] === 1 && a.ne[3] === 1, 'sumTo without a kernel', a, like)
    return composed.sumOfColumns(this, a)
  }

  /** [n, m] → I32 [m], the index of each column's largest element. */
  argmax(a: Tensor): Tensor {
    need(a.ne[2] === 1 && a.ne[3] === 1, 'argmax', a)
    return this.#made(this.#ggml.argmax(this.#c, a.ptr), shape(a.ne[1]), TYPE.I32)
  }

  silu(a: Tensor): Tensor {
    return this.#made(this.#ggml.silu(this.#c, a.ptr), a.ne)
  }

  /** silu(gate) ∘ up */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    need(sameShape(gate, up), 'swiglu', gate, up)
    return this.#made(this.#ggml.swiglu_split(this.#c, gate.ptr, up.ptr), gate.ne)
  }

  /** gelu(gate) ∘ up, by the approximation with tanh. */
  geglu(gate: Tensor, up: Tensor): Tensor {
    need(sameShape(gate, up), 'geglu', gate, up)
    return this.#made(this.#ggml.geglu_split(this.#c, gate.ptr, up.ptr), gate.ne)
  }

  /** `b` behind `a` along one dimension. */
  concat(a: Tensor, b: Tensor, dimension: 0 | 1 | 2): Tensor {
    need(
      a.ne.every((n, i) => i === dimension || n === b.ne[i]),
      'concat',
      a,
      b
    )
    const ne = a.ne.map((n, i) => (i === dimension ? n + b.ne[i]! : n))
    return this.#made(this.#ggml.concat(this.#c, a.ptr, b.ptr, dimension), shape(...ne))
  }

  /** x / rms(x) per column, without the weight. */
  rmsNorm(x: Tensor, eps: number): Tensor {
    return this.#made(this.#ggml.rms_norm(this.#c, x.ptr, eps), x.ne)
  }

  rmsNormBack(dy: Tensor, x: Tensor, eps: number): Tensor {
    need(sameShape(dy, x), 'rmsNormBack', dy, x)
    const kernel = this.#kernel(this.#ggml.rms_norm_back(this.#c, dy.ptr, x.ptr, eps), x.ne)
    return kernel ?? composed.rmsNormBack(this, dy, x, eps)
  }

  /** softmax(scale · a + mask) per column; mask [keys, queries] repeats over the other dimensions. */
  softMax(a: Tensor, mask: Tensor | null, scale: number): Tensor {
    need(isContiguous(this.backend.native, a), 'softMax', a)
    if (mask) need(mask.ne[0] === a.ne[0] && mask.ne[1] >= a.ne[1], 'softMax', a, mask)
    return this.#made(this.#ggml.soft_max_ext(this.#c, a.ptr, mask?.ptr ?? null, scale, 0), a.ne)
  }

  /** −∞ where row i of column j has i > j + past: what lies behind a query. The allocator computes it in place. */
  maskBehind(a: Tensor, past: number): Tensor {
    need(isContiguous(this.backend.native, a) && past >= 0 && past + a.ne[1] === a.ne[0], 'maskBehind', a)
    return this.#made(this.#ggml.diag_mask_inf(this.#c, a.ptr, past), a.ne)
  }

  /** `y` is the softmax's own output. */
  softMaxBack(dy: Tensor, y: Tensor, scale: number): Tensor {
    need(sameShape(dy, y), 'softMaxBack', dy, y)
    const kernel = this.#kernel(this.#ggml.soft_max_ext_back(this.#c, dy.ptr, y.ptr, scale, 0), y.ne)
    return kernel ?? composed.softMaxBack(this, dy, y, scale)
  }

  /**
   * softmax(scale · kᵀq + mask) · v in one operation: q [D, n, H], k and v [D, m, K], mask F16 [m, n] → [D, H, n], with K
   * dividing H. In F32 only where the backend says so.
   */
  flashAttention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number): Tensor {
    need(q.ne[0] === k.ne[0] && sameShape(k, v) && q.ne[2] % k.ne[2] === 0, 'flashAttention', q, k, v)
    need(mask.ne[0] === k.ne[1] && mask.ne[1] === q.ne[1] && mask.type === TYPE.F16, 'flashAttention', q, k, mask)
    const ptr = this.#ggml.flash_attn_ext(this.#c, q.ptr, k.ptr, v.ptr, this.cont(mask).ptr, scale, 0, 0)
    const node = this.#made(ptr, shape(v.ne[0], q.ne[2], q.ne[1]))
    this.#ggml.flash_attn_ext_set_prec(node.ptr, PRECISION_F32)
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
    const ptr = this.#ggml[name](
      this.#c, x.ptr, positions.ptr, factors?.ptr ?? null, r.dimensions, r.mode, r.contextLength,
      r.base, r.scale, r.extFactor, r.attnFactor, r.betaFast, r.betaSlow
    )
    return this.#made(ptr, x.ne)
  }

  /** Rows of `table` [n, rows] (any type) at `rows` I32 [m] → F32 [n, m] */
  getRows(table: Tensor, rows: Tensor): Tensor {
    need(table.ne[2] === rows.ne[1] && rows.type === TYPE.I32, 'getRows', table, rows)
    return this.#made(this.#ggml.get_rows(this.#c, table.ptr, rows.ptr), shape(table.ne[0], rows.ne[0], rows.ne[1]))
  }

  /** Adds column i of `dy` [n, m] to row `rows[i]` of a zero table shaped as `table`. */
  getRowsBack(dy: Tensor, rows: Tensor, table: Tensor): Tensor {
    need(dy.ne[0] === table.ne[0] && dy.ne[1] === rows.ne[0], 'getRowsBack', dy, rows, table)
    return this.#made(this.#ggml.get_rows_back(this.#c, dy.ptr, rows.ptr, table.ptr), table.ne)
  }

  /** Writes column i of `from` [n, m] to column `rows[i]` of `into`, in place. Rows must differ. */
  setRows(into: Tensor, from: Tensor, rows: Tensor): Tensor {
    need(into.ne[0] === from.ne[0] && from.ne[1] === rows.ne[0], 'setRows', into, from, rows)
    return this.#made(this.#ggml.set_rows(this.#c, into.ptr, from.ptr, rows.ptr), into.ne, into.type)
  }

  addInto(into: Tensor, what: Tensor): Tensor {
    need(sameShape(into, what), 'addInto', into, what)
    return this.#made(this.#ggml.add_inplace(this.#c, into.ptr, what.ptr), into.ne)
  }

  /** A tensor of the graph's own without values, for `fill`. */
  blank(...ne: readonly number[]): Tensor {
    return this.#made(this.#ggml.new_tensor_4d(this.#c, TYPE.F32, ...shape(...ne)), shape(...ne))
  }

  /** Sets every element of `into`, in place. */
  fill(into: Tensor, value: number): Tensor {
    return this.#made(this.#ggml.fill_inplace(this.#c, into.ptr, value), into.ne)
  }

  cpy(from: Tensor, into: Tensor): Tensor {
    need(elements(from) === elements(into), 'cpy', from, into)
    return this.#made(this.#ggml.cpy(this.#c, from.ptr, into.ptr), into.ne, into.type)
  }

  cast(a: Tensor, type: number): Tensor {
    return this.#made(this.#ggml.cast(this.#c, a.ptr, type), a.ne, type)
  }

  /** The same values laid out contiguously; a contiguous tensor is returned as it is. */
  cont(a: Tensor): Tensor {
    if (!isContiguous(this.backend.native, a)) return this.copy(a)
    // a permuted vector is contiguous, yet its strides still say that it was transposed
    return a.nb[0] > a.nb[1] ? this.reshape(a, ...a.ne) : a
  }

  /** A contiguous copy, always with memory of its own, so that it may be placed. */
  copy(a: Tensor): Tensor {
    return this.#made(this.#ggml.cont(this.#c, a.ptr), a.ne, a.type)
  }

  /** Dimension i of `a` becomes dimension axes[i]; no data moves. */
  permute(a: Tensor, axes: readonly [number, number, number, number]): Tensor {
    const ne = [1, 1, 1, 1]
    const nb = [0, 0, 0, 0]
    axes.forEach((to, i) => {
      ne[to] = a.ne[i]!
      nb[to] = a.nb[i]!
    })
    const made = this.#made(this.#ggml.permute(this.#c, a.ptr, ...axes), shape(...ne), a.type)
    return { ...made, nb: nb as unknown as Shape }
  }

  /** The transpose of the first two dimensions, as data. Asked twice for one tensor, it is made once. */
  transposed(a: Tensor): Tensor {
    const known = this.#transposes.get(a.ptr)
    if (known) return known
    const inParts = this.backend.isCpu && a.type === TYPE.F32 ? transposedInParts(this, a) : null
    const made = inParts ?? this.cont(this.permute(a, [1, 0, 2, 3]))
    this.#transposes.set(a.ptr, made)
    return made
  }

  reshape(a: Tensor, ...ne: readonly number[]): Tensor {
    const s = shape(...ne)
    need(
      isContiguous(this.backend.native, a) && elements(a) === s[0] * s[1] * s[2] * s[3],
      `reshape to [${s.join(', ')}]`,
      a
    )
    return this.#made(this.#ggml.reshape_4d(this.#c, a.ptr, ...s), s, a.type)
  }

  /** A window of `a`: sizes `ne`, starting at element `start` of each dimension, with the strides of `a`. */
  window(a: Tensor, ne: Shape, start: Shape = [0, 0, 0, 0]): Tensor {
    need(
      ne.every((n, i) => start[i]! + n <= a.ne[i]!),
      `window [${start.join(', ')}] + [${ne.join(', ')}]`,
      a
    )
    if (ne.every((n, i) => n === a.ne[i])) return a
    const offset = start.reduce((bytes, from, i) => bytes + from * a.nb[i]!, 0)
    const made = this.#made(this.#ggml.view_4d(this.#c, a.ptr, ...ne, a.nb[1], a.nb[2], a.nb[3], offset), ne, a.type)
    return { ...made, nb: a.nb }
  }

  /** AdamW in place on `parameter`; `settings` F32 [7]: rate, beta1, beta2, eps, decay, 1/(1−β₁ᵗ), 1/(1−β₂ᵗ). */
  adamw(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, settings: Tensor): Tensor {
    need(sameShape(parameter, gradient) && sameShape(m, v) && elements(settings) === 7, 'adamw', parameter, gradient)
    this.#ggml.set_param(parameter.ptr)
    return this.#made(
      this.#ggml.opt_step_adamw(this.#c, parameter.ptr, gradient.ptr, m.ptr, v.ptr, settings.ptr),
      parameter.ne
    )
  }

  /**
   * Has `node` computed into the memory of `slot`, a tensor with memory of its own, or of `at`, a window of it without gaps. Call
   * before allocation; the node must not be a view.
   */
  place(node: Tensor, slot: Tensor, at = slot): Tensor {
    need(sameShape(node, at) && node.type === at.type && isContiguous(this.backend.native, at), 'place', node, at)
    // a pool larger than the device's largest buffer has several: the slot's own is meant, which a window does not know
    const buffer = bufferOf(slot.ptr)
    const status = this.#ggml.backend_tensor_alloc(buffer, node.ptr, this.#ggml.get_data(at.ptr))
    if (status !== 0) throw new Error('a graph node could not be placed into its slot')
    return node
  }

  /** Adds what `node` needs, and `node`, to the graph. */
  run(node: Tensor): void {
    this.#ggml.build_forward_expand(this.handle, node.ptr)
  }

  /** Keeps a node's memory from being reused inside the graph, so that it can be read after `compute`. */
  output(node: Tensor): Tensor {
    this.#ggml.set_output(node.ptr)
    this.run(node)
    return node
  }

  get size(): number {
    return this.#ggml.graph_n_nodes(this.handle)
  }

  compute(): void {
    compute(this.backend, this.handle)
  }

  dispose(): void {
    this.#context.dispose()
  }
}

export { GraphAllocator } from './graph-allocator.ts'
