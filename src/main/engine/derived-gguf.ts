/**
 * A GGUF file derived from another: some metadata entries and some stretches of tensor data differ, everything else is
 * copied bit by bit, in pieces, so that a file may be larger than memory. It appears under its name whole or not at all.
 */
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { headerLayout, headerWith } from './gguf-header.ts'
import type { HeaderLayout } from './gguf-header.ts'
import type { GgufValue } from './gguf-writer.ts'
import { appearsWhole } from '../files/whole-file.ts'

/** Bytes that lie at `offset` in the source file and are replaced. */
export type BytePatch = { readonly offset: number; readonly bytes: Uint8Array }

export type Derivation = {
  readonly from: string
  readonly to: string
  readonly values: Readonly<Record<string, GgufValue>>
  /** They do not overlap. */
  readonly patches: readonly BytePatch[]
  /** Replaces a file that is there; never the source. */
  readonly force?: boolean
  /** Looks at the finished file before it takes its name; what it throws leaves nothing behind. */
  readonly check?: (temporary: string) => Promise<void>
  readonly onProgress?: (done: number, of: number) => void
  readonly signal?: AbortSignal
}

/** The calls a test replaces to let a disk be full. */
export type CopyDisk = Pick<typeof fs, 'openSync' | 'readSync' | 'writeSync' | 'closeSync' | 'fstatSync' | 'statfsSync'>

const PIECE_BYTES = 8 * 2 ** 20
const FIRST_HEADER_BYTES = 2 ** 20

/** Throws AppError('disk') where nothing may be written, AppError('usage') where the target is the source. */
export function refuseTarget(from: string, to: string, force: boolean): void {
  const there = fs.statSync(to, { throwIfNoEntry: false })
  if (!there) return
  const source = fs.statSync(from)
  if (there.ino === source.ino && there.dev === source.dev)
    throw new AppError('usage', `${to} is the base itself`, 'Name another file; a base is never written over.')
  if (there.isDirectory()) throw new AppError('usage', `${to} is a folder`, 'Name a file.')
  if (!force)
    throw new AppError('disk', `already there: ${to}`, 'Nothing was written. Name another file, or use --force.')
}

/** Throws AppError: `disk` (no room, not writable, already there), `model` (not a GGUF), `cancelled`. Returns the bytes written. */
export async function deriveGguf(derivation: Derivation, disk: CopyDisk = fs): Promise<number> {
  const { from, to, values, check } = derivation
  refuseTarget(from, to, derivation.force ?? false)
  const source = disk.openSync(from, 'r')
  try {
    const layout = readHeader(disk, source, from)
    const header = headerWith(layout, values)
    const dataBytes = disk.fstatSync(source).size - layout.dataStart
    const total = header.length + dataBytes
    requireRoom(disk, to, total)
    await appearsWhole(to, async (temporary) => {
      const target = disk.openSync(temporary, 'wx')
      try {
        writeAll(disk, target, header)
        await copyData(disk, source, target, { ...derivation, start: layout.dataStart, bytes: dataBytes })
      } finally {
        disk.closeSync(target)
      }
      await check?.(temporary)
    })
    return total
  } finally {
    disk.closeSync(source)
  }
}

/** Reads as much of the file as its header needs. */
function readHeader(disk: CopyDisk, file: number, path: string): HeaderLayout {
  const { size } = disk.fstatSync(file)
  for (let bytes = FIRST_HEADER_BYTES; ; bytes *= 2) {
    const buffer = Buffer.alloc(Math.min(bytes, size))
    readAll(disk, file, buffer, 0)
    const layout = headerLayout(buffer, path)
    if (layout && layout.dataStart <= size) return layout
    if (bytes >= size) throw new AppError('model', `${path}: the header is cut off`, 'Download or export it again.')
  }
}

type Data = Pick<Derivation, 'patches' | 'onProgress' | 'signal'> & { readonly start: number; readonly bytes: number }

async function copyData(disk: CopyDisk, source: number, target: number, data: Data): Promise<void> {
  const { patches, start, bytes, onProgress, signal } = data
  const outside = patches.find(({ offset, bytes: own }) => offset < start || offset + own.length > start + bytes)
  if (outside) throw new Error(`a patch at ${outside.offset} lies outside the data`)
  const buffer = Buffer.alloc(Math.min(PIECE_BYTES, bytes))
  for (let done = 0; done < bytes;) {
    if (signal?.aborted) throw new AppError('cancelled', 'stopped; nothing was written')
    const from = start + done
    const piece = buffer.subarray(0, Math.min(buffer.length, bytes - done))
    readAll(disk, source, piece, from)
    for (const patch of patches) overlay(piece, from, patch)
    writeAll(disk, target, piece)
    done += piece.length
    onProgress?.(done, bytes)
    await breathe()
  }
}

/** Lays over `piece`, which begins at byte `from` of the file, what of the patch falls into it. */
function overlay(piece: Buffer, from: number, { offset, bytes }: BytePatch): void {
  const first = Math.max(from, offset)
  const end = Math.min(from + piece.length, offset + bytes.length)
  if (first < end) piece.set(bytes.subarray(first - offset, end - offset), first - from)
}

function readAll(disk: CopyDisk, file: number, into: Uint8Array, position: number): void {
  for (let at = 0; at < into.length;) {
    const read = disk.readSync(file, into, at, into.length - at, position + at)
    if (read === 0) throw new Error('the file ended while it was read')
    at += read
  }
}

/** `write` may take less than it is given. */
function writeAll(disk: CopyDisk, file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += disk.writeSync(file, bytes, at, bytes.length - at)
}

function requireRoom(disk: CopyDisk, to: string, bytes: number): void {
  let free: number
  try {
    const { bavail, bsize } = disk.statfsSync(dirname(to))
    free = bavail * bsize
  } catch {
    return // a folder that is missing is told of when it is written into
  }
  if (bytes > free) {
    const mib = (n: number): string => (n / 2 ** 20).toFixed(0)
    throw new AppError(
      'disk',
      `${to} needs ${mib(bytes)} MiB, ${mib(free)} MiB are free there`,
      'Free some space, or name another folder.'
    )
  }
}
