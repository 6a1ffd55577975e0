/**
 * Packed weights: layouts in which the CPU multiplies some quantised types faster, such as eight rows of Q4_0 or Q4_K side by
 * side, or the tiles of AMX. llama.cpp chooses them by itself where it may (`use_extra_bufts`). What lies so can be multiplied
 * and nothing else: whoever wants its rows reads them from the file. Embedding and head, whose rows are read at every step, are
 * never packed (model.ts).
 */
import koffi from 'koffi'
import { Held, Owned } from './ffi/owned.ts'
import { bufferOf } from './ffi/libraries.ts'
import type { Native } from './ffi/libraries.ts'
import type { Pointer } from './ffi/structs.ts'
import { TYPE } from './tensor.ts'

/** More than any machine has. */
const MOST_LAYOUTS = 16
/** Tokens of the product that llama.cpp asks with. */
const TOKENS = 512

/** A device, as far as packing asks. */
type Cpu = { readonly native: Native; readonly device: Pointer; readonly isCpu: boolean }

/** The buffer types of packed weights, in the order of llama.cpp's choice; none but on a CPU. */
function packedBufferTypes({ native, device, isCpu }: Cpu): Pointer[] {
  if (!isCpu) return []
  const { ggml } = native
  const get = ggml.backend_reg_get_proc_address(
    ggml.backend_dev_backend_reg(device),
    'ggml_backend_dev_get_extra_bufts'
  )
  if (get === null) return []
  const list = native.call(get, 'void** ggml_backend_dev_get_extra_bufts(void*)', device)
  const found: Pointer[] = []
  while (list !== null && found.length < MOST_LAYOUTS) {
    const next = koffi.decode(list, found.length * koffi.sizeof('void*'), 'void*') as Pointer | null
    if (next === null) break
    found.push(next)
  }
  return found
}

/**
 * Whether llama.cpp, where it may, loads a matrix [input, output] of this type packed: it asks each layout whether it can
 * multiply it, as here. Reserves the matrix and touches none of it.
 */
export function packs(backend: Cpu, type: number, input: number, output: number): boolean {
  const { ggml } = backend.native
  return packedBufferTypes(backend).some((layout) => {
    const held = new Held()
    try {
      const nodes = 4
      const room = { mem_size: ggml.tensor_overhead() * nodes, mem_buffer: null, no_alloc: true }
      const make = (): Pointer => held.own(new Owned('tensor context', ggml.init(room)!, (it) => ggml.free(it))).handle
      const [weights, asking] = [make(), make()]
      const weight = ggml.new_tensor_4d(weights, type, input, output, 1, 1)!
      const buffer = ggml.backend_alloc_ctx_tensors_from_buft(weights, layout)
      if (buffer === null) return false
      held.own(new Owned('buffer', buffer, (it) => ggml.backend_buffer_free(it)))
      const x = ggml.new_tensor_4d(asking, TYPE.F32, input, TOKENS, 1, 1)!
      return ggml.backend_dev_supports_op(backend.device, ggml.mul_mat(asking, weight, x)!)
    } finally {
      held.dispose()
    }
  })
}

/** Whether a loaded weight lies packed. */
export function isPacked({ native, isCpu }: Omit<Cpu, 'device'>, weight: Pointer): boolean {
  const { ggml } = native
  return isCpu && !ggml.backend_buft_is_host(ggml.backend_buffer_get_type(bufferOf(weight))!)
}

/** ggml's buffers begin at multiples of this. */
const ALIGNMENT = 64

/**
 * A buffer type of plain host memory that is not the CPU's own: told to use the CPU's own for a weight, llama.cpp packs it all
 * the same.
 */
export function neverPacked({ ggml }: Native): Pointer {
  const memory = Buffer.alloc(3 * ALIGNMENT)
  const start = koffi.address(memory) as unknown as bigint
  const aligned = start + BigInt(ALIGNMENT) - (start % BigInt(ALIGNMENT))
  const buffer = ggml.backend_cpu_buffer_from_ptr(aligned as unknown as Pointer, ALIGNMENT)!
  const type = ggml.backend_buffer_get_type(buffer)!
  ggml.backend_buffer_free(buffer)
  return type
}
