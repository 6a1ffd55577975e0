/**
 * What the GPU backends compute, read from their `supports_op` of ggml 0.25.1 (llama.cpp v0.5.0, the build that node-llama-cpp
 * 3.22.1 ships) and from what their kernels assert: ggml-cuda.cu, ggml-vulkan.cpp, ggml-metal-device.m. Operations by the names
 * that `ggml_op_desc` gives them. Types are those that the engine uses: F32 throughout, weights of any type in products and
 * rows. Limits on sizes are not here: the tests on real devices meet them.
 */
import koffi from 'koffi'
import type { Backend } from '../../src/main/engine/backend.ts'
import type { Gpu, Native } from '../../src/main/engine/ffi/libraries.ts'
import type { Pointer } from '../../src/main/engine/ffi/structs.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'

/** A node as backends look at it. */
type Operand = { readonly type: number; readonly ne: readonly number[]; readonly nb: readonly number[] }
type Node = Operand & { readonly sources: readonly Operand[] }
type Rule = (node: Node, native: Native) => boolean

/** `struct ggml_tensor` (ggml.h): type, buffer, ne[4], nb[4], op, op_params[16], flags, src[10], … */
const OFFSET = { ne: 16, nb: 48, src: 152 } as const
const SOURCES = 10

const four = (tensor: Pointer, offset: number): number[] =>
  [0, 1, 2, 3].map((i) => Number(koffi.decode(tensor, offset + 8 * i, 'int64_t')))
const operandOf = (tensor: Pointer): Operand => ({
  type: koffi.decode(tensor, 0, 'int32_t') as number,
  ne: four(tensor, OFFSET.ne),
  nb: four(tensor, OFFSET.nb)
})
function nodeOf(tensor: Pointer): Node {
  const pointers = Array.from(
    { length: SOURCES },
    (_, i) => koffi.decode(tensor, OFFSET.src + 8 * i, 'void*') as Pointer | null
  )
  return { ...operandOf(tensor), sources: pointers.filter((it) => it !== null).map(operandOf) }
}

/** As ggml_is_contiguous_n (ggml.c): dimensions up to n may have gaps; 0 is contiguous, 1 and 2 are looser. */
function contiguousFrom(n: number, { type, ne, nb }: Operand, { ggml }: Native): boolean {
  const block = ggml.blck_size(type)
  if (ne[0] !== block && nb[0] !== ggml.type_size(type)) return false
  let next = (ggml.type_size(type) * ne[0]!) / block
  for (let i = 1; i < 4; i++) {
    if (i > n && ne[i] !== 1 && nb[i] !== next) return false
    next = i > n ? next * ne[i]! : ne[i]! * nb[i]!
  }
  return true
}

const rowsOf = (it: Operand, { ggml }: Native): boolean =>
  it.ne[0] === ggml.blck_size(it.type) || it.nb[0] === ggml.type_size(it.type)
const anyhow: Rule = () => true
const contiguous: Rule = ({ sources }, native) => contiguousFrom(0, sources[0]!, native)
const contiguousRows: Rule = ({ sources }, native) => rowsOf(sources[0]!, native)
const gapsInDimension1: Rule = ({ sources }, native) => contiguousFrom(1, sources[0]!, native)
const allRows: Rule = ({ sources }, native) => sources.every((it) => rowsOf(it, native))
const allContiguous: Rule = ({ sources }, native) => sources.every((it) => contiguousFrom(0, it, native))
const F32_OR_F16: readonly number[] = [TYPE.F32, TYPE.F16]
const FLOATS: readonly number[] = [...F32_OR_F16, TYPE.BF16]
const elementwise: Rule = (node, native) =>
  allRows(node, native) && node.sources.every(({ type }) => F32_OR_F16.includes(type))
/** Between floats; of one type, quantised ones too, where nothing moves. */
const copies: Rule = (node, native) =>
  [...node.sources, node].every(({ type }) => FLOATS.includes(type)) ||
  (node.sources[0]!.type === node.type && contiguous(node, native))

const VIEWS = { VIEW: anyhow, RESHAPE: anyhow, PERMUTE: anyhow, TRANSPOSE: anyhow, NONE: anyhow }
const table = (names: string, rule: Rule): Readonly<Record<string, Rule>> =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule]))

/** What Metal has no kernel for, of what the other two have. */
export const METAL_LACKS = [
  'OUT_PROD',
  'REPEAT_BACK',
  'RMS_NORM_BACK',
  'DIAG_MASK_INF',
  'SOFT_MAX_BACK',
  'GET_ROWS_BACK'
]

const CUDA: Readonly<Record<string, Rule>> = {
  ...VIEWS,
  ...table('ADD SUB MUL DIV', elementwise),
  ...table('SCALE SQR SQRT LOG SILU ARGMAX TRI DIAG_MASK_INF SOFT_MAX RMS_NORM_BACK OPT_STEP_ADAMW', contiguous),
  ...table('SUM SUM_ROWS RMS_NORM REPEAT_BACK', contiguousRows),
  ...table('SWIGLU GEGLU', gapsInDimension1),
  ...table('OUT_PROD SOFT_MAX_BACK', allContiguous),
  ...table('CPY CONT', copies),
  ...table('CONCAT GET_ROWS SET_ROWS FILL FLASH_ATTN_EXT', anyhow),
  MUL_MAT: ({ sources }, { ggml }) => sources.every(({ type, nb }) => nb[0] === ggml.type_size(type)),
  GET_ROWS_BACK: ({ ne }) => ne[2] === 1 && ne[3] === 1,
  ...table('ROPE ROPE_BACK', ({ sources }, native) => contiguousFrom(2, sources[0]!, native))
}

const VULKAN: Readonly<Record<string, Rule>> = {
  ...CUDA,
  ...table('ROPE ROPE_BACK', allRows),
  ...table('SWIGLU GEGLU MUL_MAT', anyhow)
}

const METAL: Readonly<Record<string, Rule>> = {
  ...VIEWS,
  ...table('ADD SUB MUL DIV', (node, native) => {
    const [a, b] = node.sources
    return elementwise(node, native) && a!.type === b!.type
  }),
  ...table('SCALE FILL SQR SQRT LOG SILU SUM_ROWS SOFT_MAX RMS_NORM TRI', contiguousRows),
  ...table('SWIGLU GEGLU', gapsInDimension1),
  ...table('SUM OPT_STEP_ADAMW', contiguous),
  ...table('CPY CONT', copies),
  ...table('CONCAT ARGMAX GET_ROWS SET_ROWS ROPE ROPE_BACK FLASH_ATTN_EXT', anyhow),
  MUL_MAT: ({ sources }) => sources.every(({ nb }) => nb[0]! <= nb[1]!)
}

export const HAS: Readonly<Record<Gpu, Readonly<Record<string, Rule>>>> = { cuda: CUDA, vulkan: VULKAN, metal: METAL }

/** This device, its graphs built as for that GPU and refused where it has no kernel; `seen` takes what is asked for. */
export function pretended(backend: Backend, gpu: Gpu, seen = new Set<string>()): Backend {
  const { native } = backend
  const computes = (tensor: Pointer): boolean => {
    const name = native.ggml.op_desc(tensor)
    const has = HAS[gpu][name]?.(nodeOf(tensor), native) ?? false
    if (has) seen.add(name)
    return has
  }
  return Object.create(backend, {
    isCpu: { value: false },
    outerRank: { value: 0 },
    flashInF32: { value: false },
    multipliesViews: { value: gpu !== 'vulkan' },
    computes: { value: computes }
  }) as Backend
}

/** The same device, said to lack these operations. */
export function without(backend: Backend, ...operations: readonly string[]): Backend {
  const { op_desc, backend_supports_op } = backend.native.ggml
  const computes = (node: Pointer): boolean =>
    !operations.includes(op_desc(node)) && backend_supports_op(backend.handle, node)
  return Object.create(backend, { isCpu: { value: false }, computes: { value: computes } }) as Backend
}
