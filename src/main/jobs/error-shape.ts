/** Errors as plain data, for a wire or a line of JSON, and back. */
import { AppError } from '../../shared/errors.ts'
import type { ErrorShape } from '../../shared/worker-contract.ts'

/** An AppError keeps its code and hint; anything else is a bug and keeps its stack; an abort is a cancel. */
export function toErrorShape(error: unknown): ErrorShape {
  if (error instanceof AppError) {
    return { code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
  }
  if (error instanceof Error && error.name === 'AbortError') return { code: 'cancelled', message: 'stopped' }
  const disk = diskTrouble(error)
  if (disk !== null) return disk
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  return { code: 'internal', message, ...(stack === undefined ? {} : { stack }) }
}

const DISK_CODES: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the disk is read-only',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EIO: 'the disk reports a read or write error',
  EMFILE: 'too many open files',
  SQLITE_FULL: 'the disk is full: the record cannot grow',
  SQLITE_IOERR: 'the disk reports a read or write error of the record',
  SQLITE_READONLY: 'the record cannot be written to',
  SQLITE_BUSY: 'another program holds the record'
}

/** A failing disk is the machine's trouble, not a bug of ours, wherever it is met. */
function diskTrouble(error: unknown): ErrorShape | null {
  const { code, path, syscall } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  // SQLite says more behind its code: SQLITE_IOERR_WRITE
  const what = code === undefined ? undefined : DISK_CODES[code.replace(/^(SQLITE_[A-Z]+)_.*$/, '$1')]
  if (what === undefined) return null
  const where = path === undefined ? '' : ` (${syscall ?? 'access'} ${path})`
  return { code: 'disk', message: `${what}${where}`, hint: 'make room or choose another folder, then try again' }
}
