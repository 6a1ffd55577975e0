/** Files that are there whole or not at all, and reads that give all that was asked for. */
import { closeSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import { DISK_ERRORS } from './disk-errors.ts'

function syncAndRename(temporary: string, path: string): void {
  const file = openSync(temporary, 'r+')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}

/** `write` fills the file of a temporary name, which is then synced and renamed. Throws AppError('disk') and leaves nothing behind. */
export function writeWholeFile(path: string, write: (temporary: string) => void): void {
  const temporary = `${path}.${process.pid}.part`
  try {
    write(temporary)
    syncAndRename(temporary, path)
  } catch (cause) {
    rmSync(temporary, { force: true })
    const why = refusal(cause)
    throw new AppError(
      'disk',
      `${path} could not be written${why === undefined ? '' : `: ${why}`}`,
      'Check that the folder exists and that the disk has room.',
      { cause }
    )
  }
}

/** What the system said, in words; undefined for an error that is not the system's. */
function refusal(cause: unknown): string | undefined {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === undefined || !/^E[A-Z]+$/.test(code)) return undefined
  return code === 'ENOENT' ? 'no such folder' : (DISK_ERRORS[code] ?? message)
}

/** Writes all of them beside their places first. Throws AppError('disk') and leaves nothing of any. */
export function writeWholeFiles(files: ReadonlyMap<string, string>): void {
  const partial = (path: string): string => `${path}.partial`
  const placed: string[] = []
  let at = ''
  try {
    for (const [path, text] of files) writeFileSync(partial((at = path)), text, { flush: true })
    for (const path of files.keys()) {
      renameSync(partial((at = path)), path)
      placed.push(path)
    }
  } catch (cause) {
    for (const path of files.keys()) rmSync(partial(path), { force: true })
    for (const path of placed) rmSync(path, { force: true })
    const why = (cause as Error).message
    throw new AppError('disk', `${at} could not be written: ${why}`, 'Check that the folder can be written and that the disk has room.', { cause }) // prettier-ignore
  }
}

/** One call of the system gives at most 2 GiB, and less where a file ends. */
const READ_BYTES = 2 ** 28

/** Fills `into` from an open file. Throws AppError('model') when the file ends before that. */
export function readWhole(file: number, into: Uint8Array, offset: number, path: string): void {
  for (let at = 0; at < into.length;) {
    const read = readSync(file, into, at, Math.min(into.length - at, READ_BYTES), offset + at)
    if (read === 0) throw new AppError('model', `${path}: the file ends too early`, 'Download or export it again.')
    at += read
  }
}

/**
 * As `writeWholeFile`, for files written in turns of the event loop. What the system refuses becomes AppError('disk') in
 * its own words; any other error of `write` passes as it is. Nothing is left behind.
 */
export async function appearsWhole(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.part`
  rmSync(temporary, { force: true })
  try {
    await write(temporary)
    syncAndRename(temporary, path)
  } catch (cause) {
    rmSync(temporary, { force: true })
    const why = refusal(cause)
    if (cause instanceof AppError || why === undefined) throw cause
    throw new AppError(
      'disk',
      `${path} could not be written: ${why}`,
      'Nothing was written. Check that the folder exists and that the disk has room.',
      { cause }
    )
  }
}

/** Writes a new file, piece after piece. */
export function writePieces(path: string, pieces: Iterable<Uint8Array>): void {
  const file = openSync(path, 'wx')
  try {
    for (const piece of pieces) for (let at = 0; at < piece.length;) at += writeSync(file, piece, at)
  } finally {
    closeSync(file)
  }
}
