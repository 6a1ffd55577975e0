/**
 * TensorBoard event files, scalars only: TFRecord framing around protobuf `Event` messages.
 * Formats: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto.
 * No npm package that writes these was found on the registry (2026).
 */
import type { Metrics } from '../../shared/event.ts'

const CRC32C_REVERSED_POLYNOMIAL = 0x82f63b78
const MASK_DELTA = 0xa282ead8

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CRC32C_REVERSED_POLYNOMIAL : crc >>> 1
  return crc
})

/** CRC-32C (Castagnoli), unsigned. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** A checksum that may itself stand in checksummed data: rotated right by 15 bits, plus a constant. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes)
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0
}

/** One record: length (u64), masked crc of the length, data, masked crc of the data; little-endian. */
export function record(data: Uint8Array): Buffer {
  const framed = Buffer.alloc(8 + 4 + data.length + 4)
  framed.writeBigUInt64LE(BigInt(data.length), 0)
  framed.writeUInt32LE(maskedCrc32c(framed.subarray(0, 8)), 8)
  framed.set(data, 12)
  framed.writeUInt32LE(maskedCrc32c(data), 12 + data.length)
  return framed
}

const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

const key = (field: number, wire: keyof typeof WIRE): Buffer => varint(field * 8 + WIRE[wire])
const integer = (field: number, value: number): Buffer => Buffer.concat([key(field, 'varint'), varint(value)])
const bytes = (field: number, value: Uint8Array): Buffer =>
  Buffer.concat([key(field, 'bytes'), varint(value.length), value])
const text = (field: number, value: string): Buffer => bytes(field, Buffer.from(value))

function double(field: number, value: number): Buffer {
  const eight = Buffer.alloc(8)
  eight.writeDoubleLE(value)
  return Buffer.concat([key(field, 'fixed64'), eight])
}

function float(field: number, value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeFloatLE(value)
  return Buffer.concat([key(field, 'fixed32'), four])
}

/** The record every event file starts with. `seconds`: wall time since 1970. */
export function versionRecord(seconds: number): Buffer {
  return record(Buffer.concat([double(1, seconds), text(3, 'brain.Event:2')]))
}

/** One record with all scalars of a step, tags as given. */
export function scalarsRecord(seconds: number, step: number, scalars: Metrics): Buffer {
  const values = Object.entries(scalars).map(([tag, value]) => bytes(1, Buffer.concat([text(1, tag), float(2, value)])))
  return record(Buffer.concat([double(1, seconds), integer(2, step), bytes(5, Buffer.concat(values))]))
}
