/** The few file calls that run folders and checkpoints are written with, so that a test can make the Nth of them fail. */
import type * as fs from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import { DISK_ERRORS } from '../files/disk-errors.ts'

export type Disk = Pick<
  typeof fs,
  'mkdirSync' | 'openSync' | 'writeSync' | 'fsyncSync' | 'closeSync' | 'renameSync' | 'rmSync' | 'ftruncateSync'
>

/** Runs file calls; whatever the system refuses becomes one sentence, `AppError('disk')`. `advice`: for what is no run. */
export function onDisk<T>(doing: string, work: () => T, advice?: string): T {
  try {
    return work()
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (cause instanceof AppError || code === undefined) throw cause
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    const hint = advice ?? (full ? 'free some space, then resume the run' : undefined)
    throw new AppError('disk', `${doing}: ${DISK_ERRORS[code] ?? (cause as Error).message}`, hint, { cause })
  }
}

const CHUNK_BYTES = 64 * 1024 * 1024

/** Writes all of it: `write` may take less than it is given. */
export function writeAll(disk: Disk, file: number, bytes: Uint8Array): void {
  let at = 0
  while (at < bytes.length) at += disk.writeSync(file, bytes, at, Math.min(CHUNK_BYTES, bytes.length - at))
}

/** Makes a rename or a new name in a folder last through a power cut. Windows cannot open folders and needs no such call. */
export function syncFolder(disk: Disk, path: string): void {
  if (process.platform === 'win32') return
  const folder = disk.openSync(path, 'r')
  try {
    disk.fsyncSync(folder)
  } finally {
    disk.closeSync(folder)
  }
}
