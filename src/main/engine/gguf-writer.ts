/** Writes GGUF files through ggml's own writer, atomically: a temporary name, fsync, rename. */
import { statSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import type { Backend } from './backend.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import type { Tensor } from './tensor.ts'
import { writeWholeFile } from '../files/whole-file.ts'

export type GgufValue =
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'u32'; readonly value: number }
  | { readonly kind: 'f32'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'bools'; readonly value: readonly boolean[] }
  | { readonly kind: 'texts'; readonly value: readonly string[] }
  | { readonly kind: 'i32s'; readonly value: readonly number[] }
  | { readonly kind: 'f32s'; readonly value: readonly number[] }

const GGUF_TYPE = { i32: 5, f32: 6, bool: 7 } as const

export type GgufContent = {
  /** Metadata of this file comes first; `values` are set over it. */
  readonly metadataFrom?: string
  readonly values: Readonly<Record<string, GgufValue>>
  /** Tensors on any device; their data is read while writing. */
  readonly tensors: readonly { readonly name: string; readonly tensor: Tensor }[]
}

/** Throws AppError('disk') and leaves nothing behind when the file cannot be written whole. */
export function writeGguf(backend: Backend, path: string, content: GgufContent): void {
  const { ggml } = backend.native
  writeWholeFile(path, (temporary) => {
    const file = new Owned('gguf', ggml.gguf_init_empty()!, (it) => ggml.gguf_free(it))
    try {
      if (content.metadataFrom !== undefined) copyMetadata(backend, content.metadataFrom, file.handle)
      for (const [key, value] of Object.entries(content.values)) setValue(backend, file.handle, key, value)
      for (const { name, tensor } of content.tensors) {
        ggml.set_name(tensor.ptr, name)
        ggml.gguf_add_tensor(file.handle, tensor.ptr)
      }
      const written = ggml.gguf_write_to_file(file.handle, temporary, false)
      const expected = content.tensors.reduce((sum, { tensor }) => sum + ggml.nbytes(tensor.ptr), 0)
      if (!written || statSync(temporary).size < expected) throw new Error('the file is incomplete')
    } finally {
      file.dispose()
    }
  })
}

/** Copies every key of a file into a `gguf_context`. Throws AppError('model') where it cannot be read. */
export function copyMetadata(backend: Backend, from: string, into: Pointer): void {
  const { ggml } = backend.native
  const source = ggml.gguf_init_from_file(from, { no_alloc: true, ctx: null })
  if (source === null) throw new AppError('model', `${from}: the metadata could not be read`)
  ggml.gguf_set_kv(into, source)
  ggml.gguf_free(source)
}

export function setValue(backend: Backend, file: Pointer, key: string, value: GgufValue): void {
  const { ggml } = backend.native
  const set: { [K in GgufValue['kind']]: (v: Extract<GgufValue, { kind: K }>['value']) => void } = {
    text: (v) => ggml.gguf_set_val_str(file, key, v),
    u32: (v) => ggml.gguf_set_val_u32(file, key, v),
    f32: (v) => ggml.gguf_set_val_f32(file, key, v),
    bool: (v) => ggml.gguf_set_val_bool(file, key, v),
    bools: (v) => ggml.gguf_set_arr_data(file, key, GGUF_TYPE.bool, Uint8Array.from(v, Number), v.length),
    texts: (v) => ggml.gguf_set_arr_str(file, key, v, v.length),
    i32s: (v) => ggml.gguf_set_arr_data(file, key, GGUF_TYPE.i32, Int32Array.from(v), v.length),
    f32s: (v) => ggml.gguf_set_arr_data(file, key, GGUF_TYPE.f32, Float32Array.from(v), v.length)
  }
  ;(set[value.kind] as (v: unknown) => void)(value.value)
}
