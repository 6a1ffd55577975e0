/**
 * The header of a GGUF file as bytes: where each metadata entry begins and ends, so that some can be replaced and all
 * others stay as they are, bit by bit. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
 */
import { AppError } from '../../shared/errors.ts'
import type { GgufValue } from './gguf-writer.ts'

/** Value types by their number in the file. */
const TYPE = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  text: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12
}
/** Bytes of a value of fixed size. */
const SIZE: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }

const MAGIC = 0x46554747
/** Version 1 counted with 32 bits; 2 and 3 differ only in that 3 may be big-endian, which shows in the number itself. */
const VERSIONS: ReadonlySet<number> = new Set([2, 3])
const COUNTS_AT = 8
const ENTRIES_AT = 24
const DEFAULT_ALIGNMENT = 32

export type HeaderEntry = {
  readonly key: string
  /** Type of the value, or of the elements of an array. */
  readonly type: number
  readonly isArray: boolean
  /** Bytes [start, end) of key and value together. */
  readonly start: number
  readonly end: number
}

export type HeaderLayout = {
  readonly bytes: Buffer
  readonly entries: readonly HeaderEntry[]
  /** The tensor table [tensorsStart, tensorsEnd); its offsets count from `dataStart`. */
  readonly tensorsStart: number
  readonly tensorsEnd: number
  readonly dataStart: number
  readonly alignment: number
}

/** The layout of the header that `bytes` begins with; null when `bytes` ends inside it. Throws AppError('model') for a foreign file. */
export function headerLayout(bytes: Buffer, path: string): HeaderLayout | null {
  try {
    return parse(bytes, path)
  } catch (error) {
    if (error instanceof RangeError) return null // a read past the end
    throw error
  }
}

function parse(bytes: Buffer, path: string): HeaderLayout {
  if (bytes.readUInt32LE(0) !== MAGIC || !VERSIONS.has(bytes.readUInt32LE(4)))
    throw new AppError('model', `${path}: not a GGUF file of version 2 or 3`, 'Convert or download it again.')
  let at = COUNTS_AT
  const count = (): number => {
    const value = Number(bytes.readBigUInt64LE(at))
    at += 8
    return value
  }
  const skip = (size: number): void => {
    if (at + size > bytes.length) throw new RangeError('past the end')
    at += size
  }
  const number = (): number => {
    const value = bytes.readUInt32LE(at)
    at += 4
    return value
  }
  const text = (): string => {
    const size = count()
    const from = at
    skip(size)
    return bytes.toString('utf8', from, at)
  }
  const skipValues = (type: number, howMany: number): void => {
    const size = SIZE[type]
    if (size !== undefined) return skip(size * howMany)
    if (type !== TYPE.text) throw new AppError('model', `${path}: a metadata value of the unknown type ${type}`)
    for (let i = 0; i < howMany; i++) skip(count())
  }
  const tensors = count()
  const howMany = count()
  const entries: HeaderEntry[] = []
  let alignment = DEFAULT_ALIGNMENT
  for (let i = 0; i < howMany; i++) {
    const start = at
    const key = text()
    const type = number()
    const isArray = type === TYPE.array
    const inner = isArray ? number() : type
    if (key === 'general.alignment' && type === TYPE.u32) alignment = bytes.readUInt32LE(at)
    skipValues(inner, isArray ? count() : 1)
    entries.push({ key, type: inner, isArray, start, end: at })
  }
  const tensorsStart = at
  for (let i = 0; i < tensors; i++) {
    skip(count()) // name
    skip(number() * 8 + 4 + 8) // sizes, type, offset
  }
  return { bytes, entries, tensorsStart, tensorsEnd: at, dataStart: aligned(at, alignment), alignment }
}

const aligned = (at: number, alignment: number): number => Math.ceil(at / alignment) * alignment

/**
 * The header with `values` in place of the entries of those keys, new keys at the end; up to where the data begins. A whole
 * number keeps the type that its key had. Nothing else changes.
 */
export function headerWith(layout: HeaderLayout, values: Readonly<Record<string, GgufValue>>): Buffer {
  const { bytes, entries, tensorsStart, tensorsEnd, alignment } = layout
  const known = new Set(entries.map(({ key }) => key))
  const added = Object.keys(values).filter((key) => !known.has(key))
  const counts = Buffer.from(bytes.subarray(0, ENTRIES_AT))
  counts.writeBigUInt64LE(BigInt(entries.length + added.length), 16)
  const parts = [
    counts,
    ...entries.map((entry) => {
      const value = values[entry.key]
      return value === undefined ? bytes.subarray(entry.start, entry.end) : encoded(entry.key, value, entry)
    }),
    ...added.map((key) => encoded(key, values[key]!)),
    bytes.subarray(tensorsStart, tensorsEnd)
  ]
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([...parts, Buffer.alloc(aligned(size, alignment) - size)])
}

const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}
const u64 = (value: number): Buffer => {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt(value))
  return out
}
const f32 = (value: number): Buffer => {
  const out = Buffer.alloc(4)
  out.writeFloatLE(value)
  return out
}
const text = (value: string): Buffer => {
  const content = Buffer.from(value)
  return Buffer.concat([u64(content.length), content])
}

/** Whole numbers of 8 and of 4 bytes; a negative one of 4 has the bits of its unsigned twin. */
const WIDE: ReadonlySet<number> = new Set([TYPE.u64, TYPE.i64])
const NARROW: ReadonlySet<number> = new Set([TYPE.u32, TYPE.i32])
const whole = (type: number, value: number): Buffer => (WIDE.has(type) ? u64(value) : u32(value >>> 0))

function encoded(key: string, value: GgufValue, before?: HeaderEntry): Buffer {
  const numberType = (usual: number): number =>
    before && (WIDE.has(before.type) || NARROW.has(before.type)) ? before.type : usual
  const array = (type: number, items: readonly Buffer[]): Buffer =>
    Buffer.concat([u32(TYPE.array), u32(type), u64(items.length), ...items])
  const encode: { [K in GgufValue['kind']]: (v: Extract<GgufValue, { kind: K }>['value']) => Buffer } = {
    text: (v) => Buffer.concat([u32(TYPE.text), text(v)]),
    u32: (v) => Buffer.concat([u32(numberType(TYPE.u32)), whole(numberType(TYPE.u32), v)]),
    f32: (v) => Buffer.concat([u32(TYPE.f32), f32(v)]),
    bool: (v) => Buffer.concat([u32(TYPE.bool), Buffer.of(v ? 1 : 0)]),
    bools: (v) => array(TYPE.bool, v.map((flag) => Buffer.of(flag ? 1 : 0))), // prettier-ignore
    texts: (v) => array(TYPE.text, v.map(text)),
    i32s: (v) => array(numberType(TYPE.i32), v.map((item) => whole(numberType(TYPE.i32), item))), // prettier-ignore
    f32s: (v) => array(TYPE.f32, v.map(f32)) // prettier-ignore
  }
  return Buffer.concat([text(key), (encode[value.kind] as (v: unknown) => Buffer)(value.value)])
}
