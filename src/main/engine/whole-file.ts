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
