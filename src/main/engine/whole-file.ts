/** Files that are there whole or not at all. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'

/** `write` fills the file of a temporary name, which is then synced and renamed. Throws AppError('disk') and leaves nothing behind. */
export function writeWholeFile(path: string, write: (temporary: string) => void): void {
  const temporary = `${path}.${process.pid}.part`
  try {
    write(temporary)
    const file = openSync(temporary, 'r+')
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  } catch (cause) {
    rmSync(temporary, { force: true })
    throw new AppError(
      'disk',
      `${path} could not be written`,
      'Check that the folder exists and that the disk has room.',
      { cause }
    )
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such folder',
  EFBIG: 'the file system allows no file of this size'
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
    const file = openSync(temporary, 'r+')
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  } catch (cause) {
    rmSync(temporary, { force: true })
    const code = (cause as NodeJS.ErrnoException).code
    if (cause instanceof AppError || code === undefined || !/^E[A-Z]+$/.test(code)) throw cause
    throw new AppError(
      'disk',
      `${path} could not be written: ${WHY[code] ?? (cause as Error).message}`,
      'Nothing was written. Check that the folder exists and that the disk has room.',
      { cause }
    )
  }
}
