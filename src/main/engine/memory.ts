/**
 * The memory plan: what a run will hold, in bytes, and the settings that make it fit, before anything is loaded.
 * Weights, adapter, gradients, state, boundaries and activations are exact; scratch is asked of ggml's allocator; what
 * llama.cpp takes beside its cache to decode is an estimate. Sizes follow activations.ts, head.ts, parameters.ts.
 */
import { AppError } from '../../shared/errors.ts'
import type { Keep } from './activations.ts'
import { KEY_GRAIN } from './attention-chunks.ts'
import { isRopeFactors, windowsOf } from './arch/architecture.ts'
import type { Architecture, ModelConfig } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { dataBytes } from './gguf.ts'
import type { GgufInfo } from './gguf.ts'
import { layerScratch } from './layer-scratch.ts'
import type { PlannedTraining } from './layer-scratch.ts'
import { forwardType, transposeType } from './parameters.ts'
import type { ForwardWeights } from './parameters.ts'
import { cacheBytes, decodingBytes } from './sampling-memory.ts'
import type { SamplingSize } from './sampling-memory.ts'
import { rowBytes, TYPE } from './tensor.ts'
import type { TrainerSettings } from './trainer.ts'

export type PlanRequest = {
  readonly trained: PlannedTraining
  /** Tokens of a packed row. */
  readonly tokens: number
  /** What is sampled, and the tokens of a prompt; left out when nothing is. */
  readonly rollouts?: SamplingSize & { readonly promptTokens: number }
  readonly limitBytes: number
  readonly transposeType?: number
  /** The adapter that is trained is there already, so that its rank is no setting. */
  readonly givenAdapter?: boolean
  /** The platform hides llama.cpp's tensors, so that the engine holds the weights a second time. */
  readonly ownWeights?: boolean
}

export const PLAN_ITEMS = [
  'weights',
  'copies',
  'adapter',
  'gradients',
  'optimizer',
  'boundaries',
  'activations',
  'masks',
  'scratch',
  'head chunk',
  'KV cache',
  'decoding'
] as const
export type PlanItem = (typeof PLAN_ITEMS)[number]

export type Plan = {
  readonly bytes: Readonly<Record<PlanItem, number>>
  readonly totalBytes: number
  /** Of these, what is held from the first step to the last; the rest is released where something else needs room. */
  readonly heldBytes: number
  readonly limitBytes: number
  readonly settings: TrainerSettings & { readonly forward: ForwardWeights }
  /** Why these settings, one sentence each. */
  readonly reasons: readonly string[]
  readonly fits: boolean
  /** What to change when it does not fit. */
  readonly change: string | null
}

const F32 = 4
const F16 = 2
const MIB = 2 ** 20

type Choice = Plan['settings'] & { readonly why: string }

/** From the fastest to the smallest. */
const CHOICES: readonly Choice[] = [
  { forward: 'copies', keep: 'all', chunkQueries: 256, headRows: 64, why: 'activations are kept: everything fits' },
  {
    forward: 'own',
    keep: 'all',
    chunkQueries: 256,
    headRows: 64,
    why: 'the forward multiplies the base’s own weights: faster copies would not fit'
  },
  {
    forward: 'own',
    keep: 'none',
    chunkQueries: 256,
    headRows: 64,
    why: 'activations are computed again in the backward: kept ones would not fit'
  },
  {
    forward: 'own',
    keep: 'none',
    chunkQueries: 64,
    headRows: 16,
    why: 'small chunks of attention and head: larger ones would not fit'
  }
]

/** Chooses the fastest settings that fit the limit; the smallest ones when none do. Loads and computes nothing. */
export function planMemory(
  backend: Backend,
  model: { architecture: Architecture; config: ModelConfig; info: GgufInfo },
  request: PlanRequest
): Plan {
  const plans = CHOICES.map((choice) => () => planFor(backend, model, request, choice))
  let plan = plans[0]!()
  for (const next of plans.slice(1)) if (!plan.fits) plan = next()
  if (plan.fits) return plan
  return { ...plan, change: whatToChange(plan, request, model.config) }
}

function planFor(
  backend: Backend,
  model: { architecture: Architecture; config: ModelConfig; info: GgufInfo },
  request: PlanRequest,
  choice: Choice
): Plan {
  const { architecture, config, info } = model
  const { trained, tokens, rollouts, limitBytes } = request
  const { forward, keep, chunkQueries, headRows, why } = choice
  const tensor = (name: string): { type: number; ne: readonly number[]; elements: number } => {
    const { type, ne } = info.tensors.get(name)!
    return { type, ne, elements: ne[0] * ne[1] * ne[2] * ne[3] }
  }
  const layers = Array.from({ length: config.layers }, (_, i) => i)
  const linears = [
    ...layers.flatMap((i) =>
      Object.entries(architecture.linears).map(([role, name]) => ({ role, ...tensor(`blk.${i}.${name}`) }))
    ),
    { role: 'head', ...tensor(config.head) }
  ]
  const sum = (values: readonly number[]): number => values.reduce((total, it) => total + it, 0)

  const weights = sum([...info.tensors.values()].map(dataBytes))
  const copies = sum(
    linears.map(({ role, type, ne, elements }) => {
      const transposed = request.transposeType ?? transposeType(type, ne[1]!, backend.isCpu)
      const forwards = forward === 'copies' ? forwardType(type, ne[0]!, role, backend.isCpu) : type
      const again = forwards === type ? 0 : rowBytes(backend.native, forwards, elements)
      return rowBytes(backend.native, transposed, elements) + again
    })
  )
  const trainedSizes =
    trained.kind === 'full'
      ? [...info.tensors.keys()].filter((name) => !isRopeFactors(name)).map((name) => tensor(name).elements)
      : layers.flatMap((i) =>
          trained.targets.flatMap((target) => {
            const { ne } = tensor(`blk.${i}.${architecture.linears[architecture.targets[target]!]}`)
            return [ne[0]! * trained.r, ne[1]! * trained.r]
          })
        )
  const trainedBytes = sum(trainedSizes) * F32
  const sketch = { architecture, config, info, trained, tokens, keep, chunkQueries }
  const scratch = layerScratch(
    backend,
    request.transposeType === undefined ? sketch : { ...sketch, transposeType: request.transposeType }
  )
  const tableGradient = trained.kind === 'full' ? config.vocabulary * config.width * F32 : 0
  const bytes: Record<PlanItem, number> = {
    weights: request.ownWeights ? 2 * weights : weights,
    copies,
    adapter: trained.kind === 'full' ? 0 : request.ownWeights ? 2 * trainedBytes : trainedBytes,
    gradients: trainedBytes,
    optimizer: 2 * trainedBytes + Math.max(...trainedSizes) * F32,
    boundaries: boundaryBytes(config, tokens),
    activations: activationBytes(architecture, config, tokens, keep),
    masks: maskBytes(config, tokens, chunkQueries, rollouts ? rollouts.promptTokens : 0),
    scratch: Math.max(scratch.forward, scratch.backward, tableGradient) + (rollouts ? prefixBytes(config, tokens) : 0),
    'head chunk': headBytes(config, headRows, trained.kind === 'full'),
    'KV cache': rollouts ? cacheBytes(config, rollouts) : 0,
    decoding: rollouts ? decodingBytes(config, rollouts.width) : 0
  }
  // Making the copies passes each weight through F32, before anything of a pass exists.
  const startup = Math.max(...linears.map(({ type, elements }) => (type === TYPE.F32 ? 0 : elements * F32)))
  const later = sum(
    (['boundaries', 'activations', 'masks', 'scratch', 'head chunk', 'KV cache', 'decoding'] as const).map(
      (item) => bytes[item]
    )
  )
  const released = bytes.boundaries + bytes.activations + bytes.scratch
  const totalBytes = sum(Object.values(bytes)) - later + Math.max(later, startup)
  return {
    bytes,
    totalBytes,
    heldBytes: sum(Object.values(bytes)) - released,
    limitBytes,
    settings: { forward, keep, chunkQueries, headRows },
    reasons: [why, ...(startup > later ? ['the peak is at the start, while the weights are copied'] : [])],
    fits: totalBytes <= limitBytes,
    change: null
  }
}

/** The residual stream between layers, its gradient, and what a batch brings. */
function boundaryBytes({ layers, width }: ModelConfig, tokens: number): number {
  return ((layers + 1) * width * tokens + 2 * width * (tokens + 1) + 2 * tokens) * F32
}

/** What layers keep for their backward, and the results of attention's chunks. */
function activationBytes(architecture: Architecture, config: ModelConfig, tokens: number, keep: Keep): number {
  const kept = Object.entries(architecture.kept(config, tokens)).filter(([name]) => keep === 'all' || name === 'o')
  const set = kept.reduce((sum, [, ne]) => sum + ne.reduce((product, n) => product * n, 1), 0)
  const sets = keep === 'all' ? config.layers : 1
  const attention = config.headDim * tokens * (config.heads + 2 * config.keyHeads)
  return (sets * set + attention) * F32
}

/**
 * At most what masks take, whatever lies in a row. Only chunks that touch several sequences have one; each meets the keys of
 * its own queries, of the part before it of the first sequence it touches and of the prompt that one shares, and fewer than
 * three times KEY_GRAIN more. Those first sequences differ from chunk to chunk, so that all of them together are at most the
 * row. Where layers see a window only, every chunk has a mask, of the window's keys at most.
 */
function maskBytes(config: ModelConfig, tokens: number, chunkQueries: number, promptTokens: number): number {
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
const prefixBytes = ({ headDim, keyHeads }: ModelConfig, tokens: number): number =>
  3 * headDim * keyHeads * tokens * F32

/** Logits and probabilities stay between the head's two graphs; a trained head also holds their gradient and its own. */
function headBytes({ width, vocabulary }: ModelConfig, rows: number, trainedWhole: boolean): number {
  const logits = vocabulary * rows
  const stay = 2 * logits + width * rows + 10 * rows
  const scratch = trainedWhole ? 2 * logits + width * (vocabulary + rows) : logits + 2 * width * rows
  return (stay + scratch) * F32
}

/** Names the setting behind the largest part of the plan. */
function whatToChange(
  { bytes, totalBytes, limitBytes }: Plan,
  { trained, tokens, rollouts, givenAdapter }: PlanRequest,
  config: ModelConfig
): string {
  const parts = [
    {
      bytes: bytes.boundaries + bytes.activations + bytes.masks + bytes.scratch,
      change: `Lower max_length or max_completion_length: packed rows are ${tokens} tokens.`
    },
    {
      bytes: bytes['KV cache'] + bytes.decoding,
      change: `Lower rollout_width (${rollouts?.width ?? 0}) or max_completion_length.`
    },
    {
      bytes: bytes.adapter + bytes.gradients + bytes.optimizer,
      change:
        trained.kind === 'lora' && givenAdapter
          ? `Start from an adapter of a lower rank than ${trained.r}.`
          : trained.kind === 'lora'
            ? `Lower lora.r (${trained.r}) or name fewer target_modules.`
            : 'Train an adapter instead of every weight.'
    },
    {
      bytes: bytes.weights + bytes.copies + bytes['head chunk'],
      change: `Choose a smaller base (this one has ${config.layers} layers of width ${config.width}) or raise memory_limit_mib.`
    }
  ]
  const over = totalBytes - limitBytes
  const enough = parts.filter((part) => part.bytes > over)
  const [largest] = (enough.length > 0 ? enough : parts).sort((a, b) => b.bytes - a.bytes)
  return largest!.change
}

/** Throws AppError('memory') with the setting to change when the plan does not fit. */
export function requirePlan(plan: Plan): Plan {
  if (plan.fits) return plan
  throw new AppError(
    'memory',
    `the run needs ${inMib(plan.totalBytes)} MiB, ${inMib(plan.limitBytes)} MiB are allowed`,
    plan.change ?? 'Raise memory_limit_mib.'
  )
}

const inMib = (bytes: number): string => (bytes / MIB).toFixed(1)

/** One aligned line per item, the total, the settings and why. */
export function printPlan(plan: Plan): string[] {
  const rows = [
    ...PLAN_ITEMS.map((item) => [item, inMib(plan.bytes[item])] as const),
    ['peak', inMib(plan.totalBytes)] as const
  ]
  const wide = Math.max(...rows.map(([, value]) => value.length))
  const lines = rows.map(([item, value]) => `${item.padEnd(12)}${value.padStart(wide)} MiB`)
  const { keep, chunkQueries, headRows } = plan.settings
  return [
    ...lines.slice(0, -1),
    `${lines.at(-1)!} of ${inMib(plan.limitBytes)} MiB allowed`,
    `keep ${keep}, attention in chunks of ${chunkQueries} queries, head in chunks of ${headRows} tokens`,
    ...plan.reasons,
    ...(plan.change === null ? [] : [plan.change])
  ]
}
