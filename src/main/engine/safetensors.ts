/** Safetensors files: read as F32 (from F32, F16, BF16), I32 or I64, written as F32. An 8-byte length, a JSON header, the data (huggingface/safetensors, format notes). */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import { writeWholeFile } from '../files/whole-file.ts'

/** Row-major: the last dimension is contiguous, so ggml's ne reversed. */
export type SafeTensor = { readonly shape: readonly number[]; readonly data: Float32Array | Int32Array | BigInt64Array }

const READ = {
  F32: (bytes: ArrayBuffer) => new Float32Array(bytes),
  F16: (bytes: ArrayBuffer) => Float32Array.from(new Float16Array(bytes)),
  BF16: (bytes: ArrayBuffer) => new Float32Array(Uint32Array.from(new Uint16Array(bytes), (bits) => bits << 16).buffer),
  I32: (bytes: ArrayBuffer) => new Int32Array(bytes),
  I64: (bytes: ArrayBuffer) => new BigInt64Array(bytes)
} as const

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>

/** Throws AppError('model') for a file that is cut off or holds other types. */
export function readSafetensors(path: string): Map<string, SafeTensor> {
  const file = readFileSync(path)
  const broken = (why: string): AppError => new AppError('model', `${path}: not a safetensors file (${why})`)
  if (file.length < 8) throw broken('too short')
  const headerBytes = Number(file.readBigUInt64LE(0))
  if (8 + headerBytes > file.length) throw broken('the header is cut off')
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerBytes)) as Header
  const tensors = new Map<string, SafeTensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const read = READ[entry.dtype as keyof typeof READ]
    if (!read) throw broken(`${name} has the type ${entry.dtype}, expected ${Object.keys(READ).join(', ')}`)
    const [from, to] = entry.data_offsets
    if (8 + headerBytes + to > file.length) throw broken(`${name} is cut off`)
    const start = file.byteOffset + 8 + headerBytes
    tensors.set(name, { shape: entry.shape, data: read(file.buffer.slice(start + from, start + to) as ArrayBuffer) })
  }
  return tensors
}

/** Writes F32 tensors under a temporary name, then renames. Throws AppError('disk'). */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
  metadata: Record<string, string> = {}
): void {
  let offset = 0
  const header: Record<string, unknown> = { __metadata__: metadata }
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + data.byteLength] }
    offset += data.byteLength
  }
  const text = JSON.stringify(header)
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8, ' '))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  writeWholeFile(path, (temporary) => {
    const file = openSync(temporary, 'w')
    try {
      writeSync(file, length)
      writeSync(file, padded)
      for (const { data } of tensors.values())
        writeSync(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    } finally {
      closeSync(file)
    }
  })
}
