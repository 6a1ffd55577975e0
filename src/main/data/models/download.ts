/** A model by its name or address into a folder, when a person asks for it. Stopped, it goes on where it was. */
import { statSync } from 'node:fs'
import { basename } from 'node:path'
import { AppError } from '../../../shared/errors.ts'
import type { JobFunction } from '../../../shared/worker-contract.ts'

const MIB = 2 ** 20

/** Result: `{ file, bytes, lines }`. */
export const runDownload: JobFunction<'download'> = async ({ from, to }, { emit, signal }) => {
  const { createModelDownloader, readGgufFileInfo } = await import('node-llama-cpp')
  emit({ kind: 'phase', name: 'asking' })
  const uri = uriOf(from)
  const refuse = (cause: unknown): AppError =>
    new AppError(
      'model',
      `${from} could not be fetched: ${(cause as Error).message}`,
      'Check the name and the connection, then try again.',
      { cause }
    )
  const downloader = await createModelDownloader({
    modelUri: uri,
    dirPath: to,
    deleteTempFileOnCancel: false,
    onProgress: ({ totalSize, downloadedSize, averageSpeed }) =>
      emit({
        kind: 'progress',
        label: 'MiB',
        done: Math.round(downloadedSize / MIB),
        of: Math.max(1, Math.round(totalSize / MIB)),
        note: `${(averageSpeed / MIB).toFixed(1)} MiB/s`
      })
  }).catch((cause: unknown) => {
    throw refuse(cause)
  })
  emit({ kind: 'phase', name: 'downloading' })
  emit({ kind: 'log', level: 'info', text: `${uri}: ${(downloader.totalSize / MIB).toFixed(0)} MiB to ${to}` })
  let file: string
  try {
    file = await downloader.download({ signal })
  } catch (cause) {
    if (signal.aborted) throw new AppError('cancelled', 'stopped; what was fetched is kept')
    throw refuse(cause)
  }
  emit({ kind: 'phase', name: 'checking' })
  const { size } = statSync(file)
  await readGgufFileInfo(file, { sourceType: 'filesystem', logWarnings: false }).catch((cause: unknown) => {
    throw new AppError('model', `${file} is no GGUF that can be read`, 'Fetch it again.', { cause })
  })
  return { file, bytes: size, lines: [`${basename(file)}, ${(size / MIB).toFixed(0)} MiB, its header reads well`] }
}

/** `owner/name:Q4_K_M` is Hugging Face's; an address is taken as it is. */
function uriOf(from: string): string {
  const text = from.trim()
  if (/^(https:|hf:)/.test(text)) return text
  if (/^[\w.-]+\/[\w.-]+(:[\w.-]+|\/[\w./-]+)?$/.test(text)) return `hf:${text}`
  throw new AppError(
    'usage',
    `${text} is neither a Hugging Face name nor an https address`,
    'Write owner/name:Q4_K_M, or paste the address of a .gguf file.'
  )
}
