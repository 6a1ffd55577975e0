/** Preparing a base larger than 32-bit offsets reach. */
import * as fs from 'node:fs'
import { copyFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { deriveGguf } from '../../src/main/engine/derived-gguf.ts'
import type { CopyDisk } from '../../src/main/engine/derived-gguf.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeTinyModel } from './tiny-model.ts'

const own = owner()
const at = temporaryFolder()

test('a file of more than 4 GiB is copied in pieces, and a row behind 4 GiB is patched', async () => {
  const small = join(at, 'small.gguf')
  writeTinyModel(own.backend(), small)
  const base = join(at, 'huge.gguf')
  copyFileSync(small, base)
  const size = 2 ** 32 + 2 ** 24
  truncateSync(base, size) // a hole: no disk is used
  const offset = 2 ** 32 + 12_345_678
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i % 255) + 1)
  const zeros = Buffer.alloc(8 * 2 ** 20)
  const rss = process.memoryUsage.rss()
  let [written, seen, most] = [0, -1, 0]
  const counting = ((_file: number, piece: Buffer, from: number, length: number) => {
    // a hole reads as zeros, which are compared faster than searched
    const found = piece.length === zeros.length && piece.equals(zeros) ? -1 : piece.indexOf(bytes, from)
    if (found >= 0) seen = written + found - from
    written += length
    most = Math.max(most, process.memoryUsage.rss() - rss)
    return length
  }) as unknown as CopyDisk['writeSync']
  const statfsSync = (() => ({ bavail: 2 ** 40, bsize: 1 })) as unknown as CopyDisk['statfsSync']
  const total = await deriveGguf(
    { from: base, to: join(at, 'to.gguf'), values: {}, patches: [{ offset, bytes }] },
    { ...fs, statfsSync, writeSync: counting }
  )
  expect([written, total]).toEqual([size, size])
  expect(seen).toBe(offset)
  expect(most).toBeLessThan(100 * 2 ** 20)
})
