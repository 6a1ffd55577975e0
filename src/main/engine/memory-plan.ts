/** What a memory plan is asked for, and what it says. */
import type { Architecture, ModelConfig } from './arch/architecture.ts'
import type { GgufInfo } from './gguf.ts'
import type { PlannedTraining } from './layer-scratch.ts'
import type { ForwardWeights } from './parameters.ts'
import type { CacheType } from '../../shared/recipe.ts'
import type { SamplingSize } from './sampling-memory.ts'
import type { TrainerSettings } from './trainer.ts'
import type { Transposes } from './weight-copies.ts'

/** What a plan needs of a base: nothing that is loaded. */
export type PlannedBase = {
  readonly architecture: Architecture
  readonly config: ModelConfig
  readonly info: GgufInfo
}

/** Sequences at once at most, and the tokens of a prompt; the plan chooses the cache's type where none is named. */
export type PlannedRollouts = SamplingSize & {
  readonly promptTokens: number
  /** The width is somebody's wish, not the plan's to lower. */
  readonly fixedWidth?: boolean
}

/** How rollouts are sampled: `in turn`, the sampler's memory is there only while it samples, the trainer's only while it trains. */
export type PlannedSampling = {
  readonly width: number
  readonly cacheType: CacheType
  readonly memory: 'together' | 'in turn'
}

export type PlanRequest = {
  readonly trained: PlannedTraining
  /** Tokens of a packed row. */
  readonly tokens: number
  /** What is sampled; left out when nothing is. */
  readonly rollouts?: PlannedRollouts
  readonly limitBytes: number
  /** Host memory that a device may use for what it has no room for; left out where there is none beside its own. */
  readonly hostLimitBytes?: number
  readonly transposeType?: number
  /** The adapter that is trained is there already, so that its rank is no setting. */
  readonly givenAdapter?: boolean
  /** The platform hides llama.cpp's tensors, so that the engine holds the weights a second time. */
  readonly ownWeights?: boolean
}

export const PLAN_ITEMS = [
  'weights',
  'process',
  'graphs',
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

/** How the engine trains. */
export type PlannedSettings = TrainerSettings & { readonly forward: ForwardWeights; readonly transposes: Transposes }

export type Plan = {
  readonly bytes: Readonly<Record<PlanItem, number>>
  /** Host memory beside a device's own: what waits there. */
  readonly hostBytes: number
  readonly totalBytes: number
  /** Of these, what is held from the first step to the last; the rest is released where something else needs room. */
  readonly heldBytes: number
  readonly limitBytes: number
  readonly settings: PlannedSettings
  /** Null when nothing is sampled. */
  readonly sampling: PlannedSampling | null
  /** Why these settings, one sentence each. */
  readonly reasons: readonly string[]
  readonly fits: boolean
  /** What to change when it does not fit. */
  readonly change: string | null
}
