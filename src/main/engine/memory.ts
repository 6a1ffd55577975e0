/**
 * The memory plan: what a run will hold, in bytes, and the settings that make it fit, before anything is loaded.
 * Weights, adapter, gradients, state, boundaries and activations are exact; scratch is asked of ggml's allocator; what
 * llama.cpp takes beside its cache to decode, and what the process takes for itself, are estimates.
 */
import { isRopeFactors } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { paddedRow } from './batch.ts'
import { dataBytes } from './gguf.ts'
import { layerScratch } from './layer-scratch.ts'
import type { LayerSketch } from './layer-scratch.ts'
import { mayCopy, mayPack, samplingSizes, trainingChoices, whySampling, whyTraining } from './memory-choices.ts'
import type { Plan, PlanItem, PlannedBase, PlannedSampling, PlannedSettings, PlanRequest } from './memory-plan.ts'
import {
  activationBytes,
  boundaryBytes,
  descriptionBytes,
  headBytes,
  maskBytes,
  prefixBytes,
  processBytes,
  waitingBytes
} from './memory-sizes.ts'
import { whatToChange } from './memory-words.ts'
import { forwardType, transposeType } from './parameters.ts'
import { cacheBytes, decodingBytes } from './sampling-memory.ts'
import { rowBytes } from './tensor.ts'
import { passedThrough } from './weight-copies.ts'

const F32 = 4

/**
 * Chooses the fastest settings that fit the limit; the smallest ones, of those that the host has room for, when none do. Loads
 * and computes nothing.
 */
export function planMemory(backend: Backend, model: PlannedBase, asked: PlanRequest): Plan {
  const request = { ...asked, tokens: paddedRow(asked.tokens) }
  const measured = new Map<string, number>()
  const scratchOf = (sketch: LayerSketch): number => {
    const key = [sketch.keep, sketch.chunkTokens, sketch.chunkQueries, sketch.transposes].join(' ')
    const known = measured.get(key) ?? layerScratch(backend, sketch)
    measured.set(key, known)
    return known
  }
  let smallest: Plan | undefined
  for (const [settings, sampling] of choices(backend, model.config.headDim, request)) {
    const plan = planFor(backend, model, request, settings, sampling, scratchOf)
    if (plan.hostBytes > (request.hostLimitBytes ?? 0)) continue
    if (plan.fits) return plan
    if (!smallest || plan.totalBytes < smallest.totalBytes) smallest = plan
  }
  return { ...smallest!, change: whatToChange(smallest!, request, model.config) }
}

/** From the fastest to the smallest. */
function* choices(
  { isCpu }: Backend,
  headDim: number,
  request: PlanRequest
): Generator<readonly [PlannedSettings, PlannedSampling | null]> {
  const { rollouts } = request
  const sizes = rollouts ? samplingSizes(headDim, rollouts) : [null]
  for (const size of sizes) {
    for (const settings of trainingChoices(request.tokens, isCpu)) {
      if (settings.forward === 'copies' && !mayCopy(request)) continue
      if (size === null) yield [settings, null]
      else for (const memory of ['together', 'in turn'] as const) yield [settings, { ...size, memory }]
    }
  }
}

function planFor(
  backend: Backend,
  model: PlannedBase,
  request: PlanRequest,
  settings: PlannedSettings,
  sampling: PlannedSampling | null,
  scratchOf: (sketch: LayerSketch) => number
): Plan {
  const { architecture, config, info } = model
  const { trained, tokens, rollouts, limitBytes } = request
  const { forward, transposes, keep, boundaries = 'device', chunkTokens, chunkQueries, headRows } = settings
  const tensor = (name: string): { type: number; ne: readonly number[]; elements: number } => {
    const { type, ne } = info.tensors.get(name)!
    return { type, ne, elements: ne[0] * ne[1] * ne[2] * ne[3] }
  }
  const layers = Array.from({ length: config.layers }, (_, i) => i)
  const linears = [
    ...layers.flatMap((i) =>
      Object.entries(architecture.linears).map(([role, name]) => ({ role, layer: i, ...tensor(`blk.${i}.${name}`) }))
    ),
    { role: 'head', layer: undefined, ...tensor(config.head) }
  ]
  const sum = (values: readonly number[]): number => values.reduce((total, it) => total + it, 0)

  const weights = sum([...info.tensors.values()].map(dataBytes))
  const packing = !request.ownWeights && mayPack(settings, request)
  // As Parameters makes them: of a layer's Wᵀ either every one, or those of one layer at a time.
  const made = linears.map(({ role, layer, type, ne, elements }) => {
    const back = request.transposeType ?? transposeType(type, ne[1]!, backend.isCpu)
    const packed = packing && role !== 'head' && backend.packs(type, ne[0]!, ne[1]!)
    const forwards = forward === 'copies' && !packed ? forwardType(type, ne[0]!, role, backend.isCpu) : type
    const shared = transposes === 'per layer' && layer !== undefined
    const copied = forwards === type ? 0 : rowBytes(backend.native, forwards, elements)
    const through = [
      shared ? 0 : passedThrough(type, back, true),
      forwards === type ? 0 : passedThrough(type, forwards, false)
    ]
    return {
      slot: shared ? `${role} ${back}` : null,
      transposed: rowBytes(backend.native, back, elements),
      copied,
      // the bytes of what lies packed are read from the file, and once more into a tensor
      passed: Math.max(...through) * elements * F32 + (packed ? 2 * rowBytes(backend.native, type, elements) : 0)
    }
  })
  const slots = new Map(made.flatMap(({ slot, transposed }) => (slot === null ? [] : [[slot, transposed] as const])))
  const copies =
    sum([...slots.values()]) + sum(made.map(({ slot, transposed, copied }) => (slot ? copied : transposed + copied)))
  const trainedSizes =
    trained.kind === 'full'
      ? [...info.tensors.keys()].filter((name) => !isRopeFactors(name)).map((name) => tensor(name).elements)
      : layers.flatMap((i) =>
          trained.targets.flatMap((target) => {
            const { ne } = tensor(`blk.${i}.${architecture.linears[architecture.targets[target]!]}`)
            return [ne[0]! * trained.r, ne[1]! * trained.r]
          })
        )
  const rowSizes =
    trained.kind === 'lora' && trained.tokenRows
      ? [...new Set(['token_embd.weight', config.head])].map(() => config.width * trained.tokenRows!)
      : []
  const adapterBytes = trained.kind === 'full' ? 0 : sum(trainedSizes) * F32
  const rowBytesTrained = sum(rowSizes) * F32
  const trainedBytes = sum(trainedSizes) * F32 + rowBytesTrained
  const sketch = { architecture, config, info, trained, tokens, keep, chunkTokens, chunkQueries, transposes }
  const scratch = scratchOf(
    request.transposeType === undefined ? sketch : { ...sketch, transposeType: request.transposeType }
  )
  const tableGradient = trained.kind === 'full' ? config.vocabulary * config.width * F32 : 0
  const bytes: Record<PlanItem, number> = {
    weights: request.ownWeights ? 2 * weights : weights,
    process: backend.isCpu ? processBytes(config) : 0,
    graphs: backend.isCpu ? descriptionBytes(config, tokens, settings) : 0,
    copies,
    // a trained row is there as it is and as what it changed by
    adapter: (request.ownWeights ? 2 : 1) * adapterBytes + 2 * rowBytesTrained,
    gradients: trainedBytes,
    optimizer: 2 * trainedBytes + Math.max(...trainedSizes, ...rowSizes) * F32,
    boundaries: boundaryBytes(config, tokens, boundaries),
    activations: activationBytes(architecture, config, tokens, settings),
    masks: maskBytes(config, tokens, chunkQueries, rollouts ? rollouts.promptTokens : 0),
    scratch: Math.max(scratch, tableGradient) + (rollouts ? prefixBytes(config, tokens) : 0),
    'head chunk': headBytes(config, headRows, trained.kind === 'full'),
    'KV cache': rollouts ? cacheBytes(config, { ...rollouts, ...sampling }) : 0,
    decoding: sampling ? decodingBytes(config, sampling.width) : 0
  }
  // Making the copies passes each weight through F32, before anything of a pass exists.
  const startup = Math.max(...made.map(({ passed }) => passed))
  const training = bytes.boundaries + bytes.activations + bytes.masks + bytes.scratch
  const decoding = bytes['KV cache'] + bytes.decoding
  const phases = sampling?.memory === 'in turn' ? Math.max(training, decoding) : training + decoding
  const later = bytes['head chunk'] + phases
  const held = sum(Object.values(bytes)) - training - decoding
  const hostBytes = boundaries === 'host' ? waitingBytes(config, tokens) : 0
  const totalBytes = held - bytes['head chunk'] + Math.max(later, startup)
  return {
    bytes,
    hostBytes,
    totalBytes,
    heldBytes: held + (sampling?.memory === 'in turn' ? 0 : decoding),
    limitBytes,
    settings,
    sampling,
    reasons: [
      ...(sampling && rollouts ? whySampling(sampling, rollouts) : []),
      ...whyTraining(settings, request, backend.isCpu),
      ...(startup > later ? ['the peak is at the start, while the weights are copied'] : [])
    ],
    fits: totalBytes <= limitBytes,
    change: null
  }
}
