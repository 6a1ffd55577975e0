/** Files that a page sent, as long as they are looked at: gone once imported, and after a day that nobody came back to them. */
import { appendFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AppError } from '../../shared/errors.ts'

const KEPT_MS = 24 * 3600_000

export type Piece = {
  readonly name: string
  readonly upload: string
  readonly offset: number
  readonly base64: string
  readonly last: boolean
}

/** Adds one piece to its file. The last one answers with where the whole lies, others with null. */
export function takePiece(folder: string, { name, upload, offset, base64, last }: Piece): string | null {
  const path = join(folder, `${upload.replaceAll(/[^\w-]/g, '')}-${basename(name).replaceAll(/[^\w.-]/g, '_')}`)
  const partial = `${path}.partial`
  const size = statSync(partial, { throwIfNoEntry: false })?.size ?? 0
  if (offset !== size)
    throw new AppError(
      'usage',
      `the upload is at byte ${size}, a piece for byte ${offset} came`,
      'Drop the file again.'
    )
  appendFileSync(partial, Buffer.from(base64, 'base64'))
  if (!last) return null
  renameSync(partial, path)
  return path
}

/** After an import: the rows are kept elsewhere. A file that was not uploaded is the person's, and stays. */
export function forgetUpload(folder: string, path: string): void {
  if (dirname(resolve(path)) === resolve(folder)) rmSync(path, { force: true })
}

/** What was dropped and never imported, half or whole. */
export function forgetOldUploads(folder: string, now = Date.now()): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (found?.isFile() === true && now - found.mtimeMs > KEPT_MS) rmSync(path, { force: true })
  }
}
