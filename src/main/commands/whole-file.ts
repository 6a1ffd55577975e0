/** Text files that a command writes: there whole, under their own name, or not at all. */
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'

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
