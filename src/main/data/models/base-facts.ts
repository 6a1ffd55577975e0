/** What the header of a GGUF says, read in a tenth of a second and without native code. The engine checks the rest. */
import { statSync } from 'node:fs'
import type { GgufFileInfo } from 'node-llama-cpp'
import { AppError } from '../../../shared/errors.ts'
import type { BaseFacts } from '../prepare/recipe-checks.ts'

/** Reads the facts a recipe is checked against; refuses a file that is no model or ends inside its tables. */
export async function readBaseFacts(path: string): Promise<BaseFacts> {
  const { readGgufFileInfo, GgmlType } = await import('node-llama-cpp')
  const refuse = (why: string, cause?: unknown): AppError =>
    new AppError('model', `${path} is not a GGUF model: ${why}`, 'if it was fetched, fetch it again', { cause })
  const info = await readGgufFileInfo(path, { logWarnings: false, sourceType: 'filesystem' }).catch(
    (cause: unknown) => {
      throw refuse(/magic/i.test(String(cause)) ? 'it does not begin with "GGUF"' : 'its header cannot be read', cause)
    }
  )
  // Past the end of a file the reader sees zeros: a cut file shows in what it lacks.
  const contextTokens: unknown = info.architectureMetadata.context_length
  const size = statSync(path).size
  const ends = [info.infoEndOffset ?? 0, ...(info.fullTensorInfo ?? []).map((tensor) => Number(tensor.fileOffset) + 1)]
  if (typeof contextTokens !== 'number' || contextTokens < 1) throw refuse('it does not say how long its context is')
  if (ends.some((end) => end > size)) throw refuse('it is cut off')
  const narrow = (info.fullTensorInfo ?? []).find(({ ggmlType }) => ggmlType !== GgmlType.F32)
  return {
    contextTokens,
    headDim: headDimOf(info.architectureMetadata),
    narrow: narrow ? { tensor: narrow.name, type: GgmlType[narrow.ggmlType] ?? `type ${narrow.ggmlType}` } : null
  }
}

/** Elements of a head as llama.cpp reads them; undefined where the header does not say one number. */
function headDimOf(about: GgufFileInfo['architectureMetadata']): number | undefined {
  const said: unknown = about.attention?.key_length
  if (typeof said === 'number') return said
  const [width, heads]: unknown[] = [about.embedding_length, about.attention?.head_count]
  return typeof width === 'number' && typeof heads === 'number' && heads > 0 ? width / heads : undefined
}
