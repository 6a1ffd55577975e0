/**
 * Which of ggml's operations the GPU backends have, read from their `supports_op` of ggml 0.25.1 (llama.cpp v0.5.0, the build
 * that node-llama-cpp 3.22.1 ships): ggml-cuda.cu, ggml-vulkan.cpp, ggml-metal-device.m. Names as `ggml_op_desc` gives them.
 * Conditions on shapes and types are not here: the tests on real devices meet them.
 */
import type { Backend } from '../../src/main/engine/backend.ts'
import type { Gpu } from '../../src/main/engine/ffi/libraries.ts'
import type { Pointer } from '../../src/main/engine/ffi/structs.ts'

const VIEWS = ['VIEW', 'RESHAPE', 'PERMUTE', 'TRANSPOSE', 'NONE']
const EVERYWHERE = [
  ...VIEWS,
  ...['MUL_MAT', 'ADD', 'SUB', 'MUL', 'DIV', 'SCALE', 'SQR', 'SQRT', 'LOG', 'SUM', 'SUM_ROWS', 'ARGMAX', 'SILU'],
  ...['SWIGLU', 'GEGLU', 'CONCAT', 'RMS_NORM', 'SOFT_MAX', 'ROPE', 'ROPE_BACK', 'GET_ROWS', 'SET_ROWS', 'FILL', 'TRI'],
  ...['CPY', 'CONT', 'FLASH_ATTN_EXT', 'OPT_STEP_ADAMW']
]
export const METAL_LACKS = [
  'OUT_PROD',
  'REPEAT_BACK',
  'RMS_NORM_BACK',
  'DIAG_MASK_INF',
  'SOFT_MAX_BACK',
  'GET_ROWS_BACK'
]

export const HAS: Readonly<Record<Gpu, ReadonlySet<string>>> = {
  cuda: new Set([...EVERYWHERE, ...METAL_LACKS]),
  vulkan: new Set([...EVERYWHERE, ...METAL_LACKS]),
  metal: new Set(EVERYWHERE)
}

/** This device, its graphs built as for that GPU and refused where it has no kernel; `seen` takes what is asked for. */
export function pretended(backend: Backend, gpu: Gpu, seen = new Set<string>()): Backend {
  const { op_desc } = backend.native.ggml
  const computes = (node: Pointer): boolean => {
    const has = HAS[gpu].has(op_desc(node))
    if (has) seen.add(op_desc(node))
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
