/**
 * A model by its name or address into a folder, when a person asks for it. What is fetched lies in the run's own folder until
 * it is whole and checked: stopped or broken off, it goes on from there; thrown away with the run, it is gone.
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelDownloader } from 'node-llama-cpp'
import { AppError } from '../../../shared/errors.ts'
import type { JobContext, JobFunction } from '../../../shared/worker-contract.ts'
import { causeOf, reach, remoteChecksum, unreachable } from './remote-file.ts'

const MIB = 2 ** 20
/** The downloader asks again for twelve minutes without a word; a person should hear earlier. */
const ASK_MS = 60_000
const STALL_MS = 120_000

/** `name`: as it is fetched; `to`: as it will be called, since only what ends like this is found among the models. */
type Piece = { readonly name: string; readonly to: string; readonly sha256: string | null }

/** Result: `{ file, bytes, sha256, lines }`. */
export const runDownload: JobFunction<'download'> = (input, context) => download(input, context, STALL_MS)

/** `stallMs`: no byte for so long, and the download ends; what was fetched is kept. */
export async function download(
  { from, to }: Parameters<JobFunction<'download'>>[0],
  { emit, signal, runDir }: JobContext,
  stallMs: number
): Promise<unknown> {
  const { createModelDownloader, readGgufFileInfo } = await import('node-llama-cpp')
  const { uri, sha256 } = sourceOf(from)
  emit({ kind: 'phase', name: 'asking' })
  const url = /^https?:/.test(uri) ? uri : null
  const host = new URL(url ?? huggingFace()).host
  if (url === null) await reach(huggingFace(), signal)
  else await remoteChecksum(url, signal)
  const asked = createModelDownloader({
    modelUri: uri,
    dirPath: runDir,
    deleteTempFileOnCancel: false,
    onProgress: ({ totalSize, downloadedSize, averageSpeed }) =>
      emit({
        kind: 'progress',
        label: 'MiB',
        done: Math.round(downloadedSize / MIB),
        of: Math.max(1, Math.round(totalSize / MIB)),
        note: `${(averageSpeed / MIB).toFixed(1)} MiB/s`
      })
  })
  const downloader = await before(asked, signal, ASK_MS, () => unreachable(host, 'no answer in a minute')).catch(
    (cause: unknown) => {
      throw refusal(from, cause)
    }
  )
  const pieces = await piecesOf(downloader, sha256, signal)
  const there = pieces.filter((piece) => existsSync(join(to, piece.to)))
  if (there.length > 0)
    throw new AppError(
      'model',
      `${there.map((piece) => piece.to).join(', ')} is in ${to} already`,
      'Use it, or move it away to fetch it again.'
    )
  const { totalSize, downloadedSize } = downloader
  requireRoom(to, totalSize - downloadedSize)
  const kept = downloadedSize > 0 ? `, ${mib(downloadedSize)} of them are here already` : ''
  emit({ kind: 'phase', name: 'downloading' })
  emit({ kind: 'log', level: 'info', text: `${uri}: ${mib(totalSize)} to ${to}${kept}` })
  await fetchAll(downloader, signal, stallMs, host).catch((cause: unknown) => {
    throw refusal(from, cause)
  })

  emit({ kind: 'phase', name: 'checking' })
  const checked: string[] = []
  for (const piece of pieces) {
    const path = join(runDir, piece.name)
    const sum = await sha256Of(path, signal)
    if (piece.sha256 !== null && sum !== piece.sha256) {
      for (const { name } of pieces) rmSync(join(runDir, name), { force: true })
      throw new AppError(
        'model',
        `${piece.name} is not what it should be: its SHA-256 is ${sum}, it should be ${piece.sha256}; it was deleted`,
        'Fetch it again. If that does not help, the file at its source is another one or damaged.'
      )
    }
    checked.push(sum)
  }
  const first = join(runDir, pieces[0]!.name)
  await readGgufFileInfo(first, { sourceType: 'filesystem', logWarnings: false }).catch((cause: unknown) => {
    for (const { name } of pieces) rmSync(join(runDir, name), { force: true })
    throw new AppError(
      'model',
      `${pieces[0]!.name} is no GGUF that can be read; it was deleted`,
      'Fetch another file.',
      {
        cause
      }
    )
  })
  const bytes = pieces.reduce((sum, { name }) => sum + statSync(join(runDir, name)).size, 0)
  for (const piece of pieces) renameSync(join(runDir, piece.name), join(to, piece.to))
  const known = pieces.every((piece) => piece.sha256 !== null)
  return {
    file: join(to, pieces[0]!.to),
    bytes,
    sha256: checked,
    lines: [
      `${pieces[0]!.to}, ${mib(bytes)}, its header reads well`,
      known
        ? `its checksum is as it should be: SHA-256 ${checked.join(', ')}`
        : `its source tells no checksum; SHA-256 ${checked.join(', ')}`
    ]
  }
}

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`

function refusal(from: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const hint = 'Check the name and the connection, then try again.'
  return new AppError('model', `${from} could not be fetched: ${causeOf(cause)}`, hint, { cause })
}

/** The files that will be written, each with the checksum it must have, where one is known. */
async function piecesOf(
  downloader: ModelDownloader,
  given: string | null,
  signal: AbortSignal
): Promise<readonly Piece[]> {
  const names = downloader.filesInfo.map(({ fileName }) => fileName)
  if (given !== null && names.length > 1)
    throw new AppError('usage', `the model has ${names.length} parts, one checksum was given`, 'Leave it out.')
  // Private in its types; where a later version lacks it, checksums are not known.
  const { _modelUrl: url } = downloader as unknown as { readonly _modelUrl?: unknown }
  const pieces: Piece[] = []
  for (const [i, name] of names.entries()) {
    const part = `-${String(i + 1).padStart(5, '0')}-of-`
    const address = typeof url !== 'string' ? null : url.replace(/-\d{5}-of-(?=\d{5}\.gguf)/, part)
    const spliced = (downloader.splitBinaryParts ?? 1) > 1
    pieces.push({
      name,
      to: /\.gguf$/i.test(name) ? name : `${name}.gguf`,
      sha256: given ?? (address === null || spliced ? null : await remoteChecksum(address, signal))
    })
  }
  return pieces
}

/** Fetches until all is there, the signal fires, or nothing came for `stallMs`. */
async function fetchAll(
  downloader: ModelDownloader,
  signal: AbortSignal,
  stallMs: number,
  host: string
): Promise<void> {
  const stop = new AbortController()
  let stalled = false
  let [seen, at] = [downloader.downloadedSize, Date.now()]
  const watch = setInterval(
    () => {
      const { downloadedSize } = downloader
      if (downloadedSize !== seen) [seen, at] = [downloadedSize, Date.now()]
      stalled ||= Date.now() - at > stallMs
      if (stalled) stop.abort()
    },
    Math.min(1000, stallMs / 4)
  )
  try {
    const either = AbortSignal.any([signal, stop.signal])
    // It ends without an error when it is cancelled, and not at all while it waits to ask again.
    await before(downloader.download({ signal: either }), either)
    either.throwIfAborted()
  } catch (cause) {
    if (!signal.aborted && !stalled) throw cause
    await downloader.cancel({ deleteTempFile: false }).catch(() => undefined)
    if (signal.aborted) throw new AppError('cancelled', 'stopped; what was fetched is kept')
    throw new AppError(
      'model',
      `nothing came from ${host} for ${Math.round(stallMs / 1000)} s; what was fetched is kept`,
      'Go on when the connection is back.',
      { cause }
    )
  } finally {
    clearInterval(watch)
  }
}

/** A promise that cannot be stopped, left alone when the signal fires or, with `late`, after `ms`. */
async function before<T>(work: Promise<T>, signal: AbortSignal, ms?: number, late?: () => AppError): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = (): void => reject(new AppError('cancelled', 'stopped'))
  const timer = ms === undefined || late === undefined ? undefined : setTimeout(() => reject(late()), ms)
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop)
  try {
    return await Promise.race([work, promise])
  } finally {
    work.catch(() => undefined)
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

function requireRoom(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder)
  if (bytes <= bavail * bsize) return
  const text = `${folder} has room for ${mib(bavail * bsize)}, ${mib(bytes)} are to come`
  throw new AppError('disk', text, 'Make room, then try again.')
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 4 * MIB })) {
    if (signal.aborted) throw new AppError('cancelled', 'stopped; what was fetched is kept')
    hash.update(chunk as Buffer)
  }
  return hash.digest('hex')
}

/** Where the library looks for Hugging Face; llama.cpp's own variable comes first. */
const huggingFace = (): string =>
  process.env['MODEL_ENDPOINT'] ?? process.env['HF_ENDPOINT'] ?? 'https://huggingface.co/'

/** `owner/name:Q4_K_M` is Hugging Face's; an address is taken as it is, with `#sha256=…` its checksum is known. */
function sourceOf(from: string): { uri: string; sha256: string | null } {
  const [, text = '', sha256 = null] = /^(.*?)(?:#sha256=([0-9a-f]{64}))?$/is.exec(from.trim())!
  const sum = sha256?.toLowerCase() ?? null
  if (/^(https:|hf:)/.test(text)) return { uri: text, sha256: sum }
  if (/^http:/.test(text)) {
    const local = ['localhost', '127.0.0.1', '[::1]'].includes(URL.parse(text)?.hostname ?? '')
    if (local || sum !== null) return { uri: text, sha256: sum }
    throw new AppError(
      'usage',
      `${text} is not protected on its way here`,
      'Use https, or add the checksum of the file to the address: #sha256=…'
    )
  }
  if (/^[\w.-]+\/[\w.-]+(:[\w.-]+|\/[\w./-]+)?$/.test(text)) return { uri: `hf:${text}`, sha256: sum }
  throw new AppError(
    'usage',
    `${text} is neither a Hugging Face name nor an https address`,
    'Write owner/name:Q4_K_M, or paste the address of a .gguf file.'
  )
}
