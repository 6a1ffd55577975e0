/** How values lie in a graph: views that move nothing, and copies into another layout, type or place. */
import { GraphNodes, need } from './graph-nodes.ts'
import type { Pointer } from './ffi/structs.ts'
import { contiguousStrides, elements, isContiguous, shape, TYPE } from './tensor.ts'
import type { Shape, Tensor } from './tensor.ts'
import { transposedInParts } from './transposing.ts'

export class GraphLayout extends GraphNodes {
  readonly #transposes = new Map<Pointer, Tensor>()

  /** A tensor of the graph's own without values, for `fill`. */
  blank(...ne: readonly number[]): Tensor {
    return this.made(this.ggml.new_tensor_4d(this.context, TYPE.F32, ...shape(...ne)), shape(...ne))
  }

  /** Sets every element of `into`, in place. */
  fill(into: Tensor, value: number): Tensor {
    return this.made(this.ggml.fill_inplace(this.context, into.ptr, value), into.ne)
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
    return this.made(this.ggml.concat(this.context, a.ptr, b.ptr, dimension), shape(...ne))
  }

  cpy(from: Tensor, into: Tensor): Tensor {
    need(elements(from) === elements(into), 'cpy', from, into)
    return this.made(this.ggml.cpy(this.context, from.ptr, into.ptr), into.ne, into.type)
  }

  cast(a: Tensor, type: number): Tensor {
    return this.made(this.ggml.cast(this.context, a.ptr, type), a.ne, type)
  }

  /** The same values laid out contiguously; a contiguous tensor is returned as it is. */
  cont(a: Tensor): Tensor {
    if (!isContiguous(this.backend.native, a)) return this.copy(a)
    // a permuted vector is contiguous, yet its strides still say that it was transposed
    return a.nb[0] > a.nb[1] ? this.reshape(a, ...a.ne) : a
  }

  /** A contiguous copy, always with memory of its own, so that it may be placed. */
  copy(a: Tensor): Tensor {
    return this.made(this.ggml.cont(this.context, a.ptr), a.ne, a.type)
  }

  /** Dimension i of `a` becomes dimension axes[i]; no data moves. */
  permute(a: Tensor, axes: readonly [number, number, number, number]): Tensor {
    const ne = [1, 1, 1, 1]
    const nb = [0, 0, 0, 0]
    axes.forEach((to, i) => {
      ne[to] = a.ne[i]!
      nb[to] = a.nb[i]!
    })
    const made = this.made(this.ggml.permute(this.context, a.ptr, ...axes), shape(...ne), a.type)
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
    return this.made(this.ggml.reshape_4d(this.context, a.ptr, ...s), s, a.type)
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
    const made = this.made(this.ggml.view_4d(this.context, a.ptr, ...ne, a.nb[1], a.nb[2], a.nb[3], offset), ne, a.type)
    return { ...made, nb: a.nb }
  }

  /** Of a window without gaps ggml keeps the wider strides of dimensions of one element; some operations refuse them. */
  protected plain(a: Tensor, operation: string): Tensor {
    need(isContiguous(this.backend.native, a), operation, a)
    const strides = contiguousStrides(this.backend.native, a.type, a.ne)
    return a.nb.every((stride, i) => stride === strides[i]) ? a : this.reshape(a, ...a.ne)
  }
}
