/**
 * Checkpoints: `checkpoint-<step>/` with one file per named byte array and a `manifest.json` that is written last.
 * A folder is made under a temporary name, every file is synced, then it is renamed and the parent is synced: whatever
 * happens in between, a folder with the final name is complete. Reading trusts nothing: it checks every hash.
 */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { Metrics } from '../../shared/event.ts'
import { onDisk, syncFolder, writeAll } from './disk.ts'
import type { Disk } from './disk.ts'

/** File name (no folders) to content: what is trained, optimizer, random state, data cursor. Large ones come in pieces. */
export type CheckpointFiles = ReadonlyMap<string, Uint8Array | string | (() => Iterable<Uint8Array>)>

export type CheckpointRecord = {
  readonly step: number
  /** `recipeHash(recipe)`: a run resumes only with the recipe it was started with. */
  readonly recipeHash: string
  /** Length of `events.jsonl` at this step (`RunLog.mark`): the metrics so far are those lines. */
  readonly logBytes: number
  /** The step's own metrics. */
  readonly metrics: Metrics
  /** Steps on end up to this one whose gradient was not finite; left out where there are none. */
  readonly nonFinite?: number
  /** Held-out score, where there is one; higher is better. */
  readonly score?: number
}

const FORMAT = 1
const MANIFEST = 'manifest.json'
const PARTIAL = '.partial'
const REPLACED = '.replaced'
const NAME = /^checkpoint-(\d+)$/

export type Manifest = CheckpointRecord & {
  readonly format: typeof FORMAT
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>
}

export type Checkpoint = {
  readonly path: string
  readonly manifest: Manifest
  /** Content of one of its files. Throws where there is none of that name. */
  read(name: string): Buffer
  /** Where it is. Throws where there is none of that name. */
  file(name: string): string
}

/** SHA-256 over a recipe's JSON with sorted keys: the same settings in another order are the same recipe. */
export function recipeHash(recipe: unknown): string {
  const sorted = JSON.stringify(recipe, (_, value: unknown) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value
  )
  return createHash('sha256').update(sorted).digest('hex')
}

/**
 * Writes `checkpoint-<step>/` into `folder` and gives its path. A checkpoint of the same step is replaced.
 * Throws AppError('disk') when the system refuses (disk full among others); then nothing of the new one remains and the
 * older ones are untouched.
 */
export function writeCheckpoint(
  folder: string,
  about: CheckpointRecord,
  files: CheckpointFiles,
  disk: Disk = fs
): string {
  const path = join(folder, `checkpoint-${about.step}`)
  const partial = path + PARTIAL
  return onDisk(`writing ${path}`, () => {
    disk.mkdirSync(folder, { recursive: true })
    disk.rmSync(partial, { recursive: true, force: true })
    try {
      disk.mkdirSync(partial)
      const entries = [...files].map(([name, content]) => {
        if (name === MANIFEST || name !== name.replace(/[^\w.-]/g, ''))
          throw new Error(`not a checkpoint file name: ${name}`)
        const pieces = typeof content === 'function' ? content() : [bytesOf(content)]
        return [name, writeSynced(disk, join(partial, name), pieces)] as const
      })
      const metrics = Object.fromEntries(Object.entries(about.metrics).filter(([, value]) => Number.isFinite(value)))
      const manifest: Manifest = { format: FORMAT, ...about, metrics, files: Object.fromEntries(entries) }
      writeSynced(disk, join(partial, MANIFEST), [Buffer.from(JSON.stringify(manifest, null, 2) + '\n')])
      syncFolder(disk, partial)
      putInPlace(disk, partial, path)
    } catch (error) {
      fs.rmSync(partial, { recursive: true, force: true })
      throw error
    }
    syncFolder(disk, folder)
    return path
  })
}

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === 'string' ? Buffer.from(content) : content

type Written = Manifest['files'][string]

/** Gives the size and the hash of what was written. */
function writeSynced(disk: Disk, path: string, pieces: Iterable<Uint8Array>): Written {
  const file = disk.openSync(path, 'wx')
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for (const piece of pieces) {
      writeAll(disk, file, piece)
      hash.update(piece)
      bytes += piece.length
    }
    disk.fsyncSync(file)
  } finally {
    disk.closeSync(file)
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** A folder cannot be renamed over a full one: the old one steps aside, and back if the new one cannot take its place. */
function putInPlace(disk: Disk, partial: string, path: string): void {
  const aside = path + REPLACED
  fs.rmSync(aside, { recursive: true, force: true })
  if (fs.existsSync(path)) disk.renameSync(path, aside)
  try {
    disk.renameSync(partial, path)
  } catch (error) {
    if (fs.existsSync(aside)) fs.renameSync(aside, path)
    throw error
  }
  fs.rmSync(aside, { recursive: true, force: true })
}

const HASHED_BYTES = 8 * 2 ** 20

/** What this process has hashed, by the file itself, so that a run's every save does not read all its earlier ones again. */
const hashed = new Map<string, { readonly as: string; readonly sha256: string }>()

/** The hash of a file's content; read once for as long as the file is the same by size and time of its last change. */
function sha256(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fs.statSync(path, { bigint: true })
  const [key, as] = [`${dev} ${ino}`, `${size} ${mtimeNs} ${ctimeNs}`]
  const known = hashed.get(key)
  if (known?.as === as) return known.sha256
  const made = { as, sha256: hashOf(path) }
  hashed.set(key, made)
  return made.sha256
}

/** In pieces: the moments of a whole model may be larger than a buffer can be. */
function hashOf(path: string): string {
  const hash = createHash('sha256')
  const buffer = new Uint8Array(HASHED_BYTES)
  const file = fs.openSync(path, 'r')
  try {
    for (let read = 1; read > 0;) hash.update(buffer.subarray(0, (read = fs.readSync(file, buffer))))
  } finally {
    fs.closeSync(file)
  }
  return hash.digest('hex')
}

/** Reads and verifies one checkpoint folder. Throws AppError('data') saying what is wrong with it. */
export function openCheckpoint(path: string): Checkpoint {
  const broken = (why: string): AppError => new AppError('data', `${path}: ${why}`)
  const manifest = manifestOf(path)
  if (!manifest) throw broken('no readable manifest')
  for (const [name, expected] of Object.entries(manifest.files)) {
    const content = join(path, name)
    if (dirname(content) !== path || !fs.existsSync(content)) throw broken(`${name} is missing`)
    const size = fs.statSync(content).size
    if (size !== expected.bytes) throw broken(`${name} has ${size} bytes instead of ${expected.bytes}`)
    if (sha256(content) !== expected.sha256) throw broken(`${name} is damaged`)
  }
  const file = (name: string): string => {
    if (!manifest.files[name]) throw broken(`holds no ${name}`)
    return join(path, name)
  }
  return { path, manifest, file, read: (name) => fs.readFileSync(file(name)) }
}

export type Latest = {
  readonly checkpoint: Checkpoint | undefined
  /** Newer folders that were passed over, with the reason. */
  readonly skipped: readonly { readonly path: string; readonly why: string }[]
}

/** The newest complete checkpoint of a folder. Broken ones are skipped and named, leftovers of interrupted writes ignored. */
export function latestCheckpoint(folder: string): Latest {
  const skipped: { path: string; why: string }[] = []
  for (const path of newestFirst(folder)) {
    try {
      return { checkpoint: openCheckpoint(path), skipped }
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      skipped.push({ path, why: error.message })
    }
  }
  return { checkpoint: undefined, skipped }
}

function newestFirst(folder: string): string[] {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder) : []
  const steps = names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number)
  return steps.sort((a, b) => b - a).map((step) => join(folder, `checkpoint-${step}`))
}

/** The complete checkpoint with the highest score; the earlier one of equals. */
export function bestCheckpoint(folder: string): Checkpoint | undefined {
  let best: Checkpoint | undefined
  for (const path of newestFirst(folder)) {
    const score = manifestOf(path)?.score
    if (score !== undefined && score >= (best?.manifest.score ?? -Infinity)) best = intact(path) ?? best
  }
  return best
}

function intact(path: string): Checkpoint | undefined {
  try {
    return openCheckpoint(path)
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** A manifest is written whole or not at all, so its format number says that the rest is there. */
function manifestOf(path: string): Manifest | undefined {
  const file = join(path, MANIFEST)
  const manifest = fs.existsSync(file) ? jsonOf(fs.readFileSync(file, 'utf8')) : undefined
  return manifest?.format === FORMAT && typeof manifest.files === 'object' ? (manifest as Manifest) : undefined
}

function jsonOf(text: string): Partial<Manifest> | undefined {
  try {
    return JSON.parse(text) as Partial<Manifest>
  } catch {
    return undefined // a manifest that is no JSON is no manifest
  }
}

/**
 * Removes all checkpoints but the newest `keep` complete ones and the best by score, and leftovers of interrupted writes.
 * Gives the removed paths.
 */
export function pruneCheckpoints(folder: string, keep: number): string[] {
  const kept = new Set(
    newestFirst(folder)
      .filter((path) => intact(path))
      .slice(0, Math.max(1, keep))
  )
  const best = bestCheckpoint(folder)
  if (best) kept.add(best.path)
  const names = fs.existsSync(folder) ? fs.readdirSync(folder) : []
  const leftovers = names
    .filter((name) => /^checkpoint-\d+(\.partial|\.replaced)$/.test(name))
    .map((name) => join(folder, name))
  const removed = [...newestFirst(folder).filter((path) => !kept.has(path)), ...leftovers]
  onDisk(`removing old checkpoints in ${folder}`, () =>
    removed.forEach((path) => fs.rmSync(path, { recursive: true, force: true }))
  )
  return removed
}
