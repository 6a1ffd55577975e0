/**
 * The models behind an evaluation's policies: the recipe's base, with an adapter or alone, and models of their own, such as
 * fully trained ones. All answer the same prompts, in tokens of one vocabulary; memory holds one model at a time.
 */
import { AppError } from '../../shared/errors.ts'
import type { CacheType, EvaluateRecipe } from '../../shared/recipe.ts'
import { loadAdapter, requireFitting } from '../engine/adapter.ts'
import type { Adapter } from '../engine/adapter.ts'
import { architectureOf } from '../engine/arch/index.ts'
import type { Backend } from '../engine/backend.ts'
import { Held } from '../engine/ffi/owned.ts'
import { readGguf } from '../engine/gguf.ts'
import { loadModel } from '../engine/model.ts'
import type { PeftBase } from '../engine/peft.ts'
import { vocabularyDifference } from '../engine/same-vocabulary.ts'
import { Sampler } from '../engine/sampler.ts'
import type { PlannedModel } from './answering-memory.ts'

type Policies = Pick<EvaluateRecipe, 'base' | 'policies'>
type EvaluatedPolicy = EvaluateRecipe['policies'][number]

const baseOf = (recipe: Policies, policy: EvaluatedPolicy): string => policy.base ?? recipe.base

/**
 * What is to be loaded, from headers: each model once. Throws AppError('recipe') naming the policy whose model has another
 * vocabulary than the recipe's base, or a context too short for `contextTokens`; AppError('model') naming the one whose adapter
 * does not belong to its model.
 */
export async function policyHeaders(
  recipe: Policies,
  backend: Backend,
  contextTokens: number
): Promise<readonly PlannedModel[]> {
  const about = await readGguf(recipe.base)
  const found = new Map<string, PlannedModel & PeftBase>()
  for (const policy of recipe.policies) {
    const path = baseOf(recipe, policy)
    if (found.has(path)) continue
    const info = path === recipe.base ? about : await readGguf(path)
    const difference = vocabularyDifference(about, info)
    if (difference !== null)
      throw new AppError(
        'recipe',
        `policies: ${policy.name}: ${path} has another vocabulary than ${recipe.base}: ${difference}`,
        'Policies are compared on the same prompts, token by token: name the base it was trained from as base.'
      )
    const { architecture, config } = architectureOf(info)
    // the recipe's own base was checked with the recipe's lines
    if (path !== recipe.base && config.contextLength < contextTokens)
      throw new AppError(
        'recipe',
        `policies: ${policy.name}: ${path} has a context of ${config.contextLength} tokens, prompts and answers take ${contextTokens}`,
        'Lower max_prompt_length or max_completion_length.'
      )
    found.set(path, { backend, architecture, config, info })
  }
  for (const policy of recipe.policies) {
    const { name, adapter } = policy
    if (adapter !== undefined) await named(name, requireFitting(found.get(baseOf(recipe, policy))!, adapter))
  }
  return [...found.values()]
}

/** Says in a refusal whose it is. */
async function named(policy: string, work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause
    throw new AppError(cause.code, `policies: ${policy}: ${cause.message}`, cause.hint, { cause })
  }
}

export type Answerer = { readonly sampler: Sampler; readonly adapter: Adapter | null }

type Loaded = {
  readonly base: string
  readonly held: Held
  readonly sampler: Sampler
  readonly adapters: ReadonlyMap<string, Adapter>
}

export type AnsweringSize = { readonly width: number; readonly contextTokens: number; readonly cacheType: CacheType }

export class PolicyModels {
  /** Answers at once: the same for all, since another width may round differently. */
  readonly width: number
  readonly #recipe: Policies
  readonly #backend: Backend
  readonly #size: AnsweringSize
  #loaded: Loaded | null = null

  constructor(recipe: Policies, backend: Backend, size: AnsweringSize) {
    this.width = size.width
    this.#recipe = recipe
    this.#backend = backend
    this.#size = size
  }

  /** What answers for a policy; its model is loaded in place of another's where it is not there already. Throws AppError. */
  async use(name: string): Promise<Answerer> {
    const policy = this.#recipe.policies.find((one) => one.name === name)!
    const base = baseOf(this.#recipe, policy)
    if (this.#loaded?.base !== base) {
      this.dispose()
      this.#loaded = await this.#load(base)
    }
    const { sampler, adapters } = this.#loaded!
    return { sampler, adapter: policy.adapter === undefined ? null : adapters.get(policy.adapter)! }
  }

  /** With every adapter that a policy has on it. */
  async #load(base: string): Promise<Loaded> {
    const held = new Held()
    try {
      const model = held.own(await loadModel(base, this.#backend, { packed: true }))
      const sampler = held.own(new Sampler(model, this.#size))
      const adapters = new Map<string, Adapter>()
      for (const policy of this.#recipe.policies) {
        const path = policy.adapter
        if (path === undefined || adapters.has(path) || baseOf(this.#recipe, policy) !== base) continue
        adapters.set(path, held.own(await loadAdapter(model, path)))
      }
      return { base, held, sampler, adapters }
    } catch (error) {
      held.dispose()
      throw error
    }
  }

  dispose(): void {
    this.#loaded?.held.dispose()
    this.#loaded = null
  }
}
