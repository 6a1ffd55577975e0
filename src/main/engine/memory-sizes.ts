/** What the parts of a pass over T tokens take, in bytes: sizes follow activations.ts and head.ts. */
import type { ActivationSettings, Boundaries } from './activations.ts'
import { windowsOf } from './arch/architecture.ts'
import type { Architecture, ModelConfig } from './arch/architecture.ts'
import { KEY_GRAIN } from './attention-chunks.ts'
import { slotSizes } from './blocks/layer.ts'
import { partsOf } from './blocks/tape.ts'

const F32 = 4
const F16 = 2

/** The residual stream between layers, its gradient, and what a batch brings. */
export function boundaryBytes({ layers, width }: ModelConfig, tokens: number, where: Boundaries): number {
  const resident = where === 'host' ? 2 : layers + 1
  return (resident * width * tokens + 2 * width * (tokens + 1) + 2 * tokens) * F32
}

/** Whatever the base: what loading reads and V8 has not collected yet, pages of code. */
const PROCESS_BYTES = 20 * 2 ** 20
/** llama.cpp's and the header's strings in maps. */
const TOKEN_BYTES = 750

/**
 * What a process grows by beside what has a size of its own. An estimate, from the growth of processes on bases of 470 to
 * 49,152 tokens: memory-peak.slow.test.ts and test/model/memory.test.ts hold it within 10 % of the whole.
 */
export const processBytes = ({ vocabulary }: Pick<ModelConfig, 'vocabulary'>): number =>
  PROCESS_BYTES + vocabulary * TOKEN_BYTES

/** Of ggml's descriptions of a layer's three graphs, what comes with a chunk of queries and with a part of the row. */
const DESCRIBED = { chunk: 56 * 2 ** 10, part: 104 * 2 ** 10 }

/**
 * The graphs of all layers as ggml keeps them, in host memory: a long row has thousands of nodes per layer. Measured on one and
 * six layers of 8,192 tokens in chunks of 64 and 256 queries.
 */
export function descriptionBytes(
  { layers }: Pick<ModelConfig, 'layers'>,
  tokens: number,
  { chunkQueries, chunkTokens }: { readonly chunkQueries: number; readonly chunkTokens?: number | undefined }
): number {
  const [chunks, parts] = [Math.ceil(tokens / chunkQueries), partsOf(tokens, chunkTokens).length]
  return layers * (chunks * DESCRIBED.chunk + parts * DESCRIBED.part)
}

/** Of the residual stream, what waits in host memory. */
export const waitingBytes = ({ layers, width }: ModelConfig, tokens: number): number =>
  (layers - 1) * width * tokens * F32

/** What layers keep for their backward or the attention over the whole row, and the results of attention's chunks. */
export function activationBytes(
  architecture: Architecture,
  config: ModelConfig,
  tokens: number,
  settings: ActivationSettings
): number {
  const kept = Object.values(slotSizes(architecture, config, tokens, settings))
  const set = kept.reduce((sum, ne) => sum + ne.reduce((product, n) => product * n, 1), 0)
  const sets = settings.keep === 'all' ? config.layers : 1
  const attention = config.headDim * tokens * (config.heads + 2 * config.keyHeads)
  return (sets * set + attention) * F32
}

/**
 * At most what masks take, whatever lies in a row. Only chunks that touch several sequences have one; each meets the keys of
 * its own queries, of the part before it of the first sequence it touches and of the prompt that one shares, and fewer than
 * three times KEY_GRAIN more. Those first sequences differ from chunk to chunk, so that all of them together are at most the
 * row. Where layers see a window only, every chunk has a mask, of the window's keys at most.
 */
export function maskBytes(config: ModelConfig, tokens: number, chunkQueries: number, promptTokens: number): number {
  const chunks = Math.ceil(tokens / chunkQueries)
  const queries = Math.min(chunkQueries, tokens)
  const some = tokens + chunks * (queries + promptTokens + 3 * KEY_GRAIN)
  const keys = windowsOf(config).map((window) =>
    window === 0 ? some : chunks * (window + queries + promptTokens + 3 * KEY_GRAIN)
  )
  const bytes = keys.map((most) => queries * Math.min(most, chunks * tokens) * F16 + (KEY_GRAIN + tokens) * F32)
  return bytes.reduce((sum, it) => sum + it, 0)
}

/** Keys, values and keys by row of a chunk, put together from a shared prompt and what follows it: at most. */
export const prefixBytes = ({ headDim, keyHeads }: ModelConfig, tokens: number): number =>
  3 * headDim * keyHeads * tokens * F32

/** Logits and probabilities stay between the head's two graphs; a trained head also holds their gradient and its own. */
export function headBytes({ width, vocabulary }: ModelConfig, rows: number, trainedWhole: boolean): number {
  const logits = vocabulary * rows
  const stay = 2 * logits + width * rows + 10 * rows
  const scratch = trainedWhole ? 2 * logits + width * (vocabulary + rows) : logits + 2 * width * rows
  return (stay + scratch) * F32
}
