/**
 * The memory plan: what a run will hold, in bytes, and the settings that make it fit, before anything is loaded.
 * Weights, adapter, gradients, state, boundaries and activations are exact; scratch is asked of ggml's allocator; what
 * llama.cpp takes beside its cache to decode is an estimate.
 */
import { isRopeFactors } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { dataBytes } from './gguf.ts'
import { layerScratch } from './layer-scratch.ts'
import { TRAINING_CHOICES, whyTraining } from './memory-choices.ts'
import type { Plan, PlanItem, PlannedBase, PlannedSettings, PlanRequest } from './memory-plan.ts'
import { activationBytes, boundaryBytes, headBytes, maskBytes, prefixBytes, waitingBytes } from './memory-sizes.ts'
import { whatToChange } from './memory-words.ts'
import { forwardType, transposeType } from './parameters.ts'
import { cacheBytes, decodingBytes } from './sampling-memory.ts'
import { rowBytes } from './tensor.ts'
import { passedThrough } from './weight-copies.ts'

const F32 = 4

/** Chooses the fastest settings that fit the limit; the smallest ones when none do. Loads and computes nothing. */
export function planMemory(backend: Backend, model: PlannedBase, request: PlanRequest): Plan {
  let smallest: Plan | undefined
  const hostless = request.hostLimitBytes === undefined
  for (const settings of TRAINING_CHOICES) {
    if (settings.boundaries === 'host' && hostless) continue
    const plan = planFor(backend, model, request, settings)
    if (plan.fits) return plan
    if (!smallest || plan.totalBytes < smallest.totalBytes) smallest = plan
  }
  return { ...smallest!, change: whatToChange(smallest!, request, model.config) }
}

function planFor(backend: Backend, model: PlannedBase, request: PlanRequest, settings: PlannedSettings): Plan {
  const { architecture, config, info } = model
  const { trained, tokens, rollouts, limitBytes } = request
  const { forward, transposes, keep, boundaries = 'device', chunkQueries, headRows } = settings
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
  // As Parameters makes them: of a layer's Wᵀ either every one, or those of one layer at a time.
  const made = linears.map(({ role, layer, type, ne, elements }) => {
    const back = request.transposeType ?? transposeType(type, ne[1]!, backend.isCpu)
    const forwards = forward === 'copies' ? forwardType(type, ne[0]!, role, backend.isCpu) : type
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
      passed: Math.max(...through) * elements * F32
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
  const trainedBytes = sum(trainedSizes) * F32
  const sketch = { architecture, config, info, trained, tokens, keep, chunkQueries, transposes }
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
    boundaries: boundaryBytes(config, tokens, boundaries),
    activations: activationBytes(architecture, config, tokens, keep),
    masks: maskBytes(config, tokens, chunkQueries, rollouts ? rollouts.promptTokens : 0),
    scratch: scratch.forward + Math.max(scratch.backward, tableGradient) + (rollouts ? prefixBytes(config, tokens) : 0),
    'head chunk': headBytes(config, headRows, trained.kind === 'full'),
    'KV cache': rollouts ? cacheBytes(config, rollouts) : 0,
    decoding: rollouts ? decodingBytes(config, rollouts.width) : 0
  }
  // Making the copies passes each weight through F32, before anything of a pass exists.
  const startup = Math.max(...made.map(({ passed }) => passed))
  const later = sum(
    (['boundaries', 'activations', 'masks', 'scratch', 'head chunk', 'KV cache', 'decoding'] as const).map(
      (item) => bytes[item]
    )
  )
  const released = bytes.boundaries + bytes.activations + bytes.masks + bytes.scratch
  const hostBytes = boundaries === 'host' ? waitingBytes(config, tokens) : 0
  const totalBytes = sum(Object.values(bytes)) - later + Math.max(later, startup)
  return {
    bytes,
    hostBytes,
    totalBytes,
    heldBytes: sum(Object.values(bytes)) - released,
    limitBytes,
    settings,
    reasons: [
      ...whyTraining(settings),
      ...(startup > later ? ['the peak is at the start, while the weights are copied'] : [])
    ],
    fits: totalBytes <= limitBytes && hostBytes <= (request.hostLimitBytes ?? 0),
    change: null
  }
}
