/**
 * Checks that need more than one key of a recipe, or a fact about the base. Pure: files and the GGUF are read elsewhere.
 * Rules are tables of `what must hold`; a broken one names the key to change.
 */
import { LoraSettings } from '../../../shared/recipe.ts'
import type { CacheType, EvaluateRecipe, GrpoRecipe, Recipe, SftRecipe } from '../../../shared/recipe.ts'
import type { KeyPath, Problem } from './recipe-problems.ts'
import { valueAt } from './recipe-problems.ts'

/** What is known of the base before it is loaded. */
export type BaseFacts = {
  readonly contextTokens?: number | undefined
  /** Elements of one attention head. */
  readonly headDim?: number | undefined
  /** Its first weight of another type than F32; null where all are. */
  readonly narrow?: { readonly tensor: string; readonly type: string } | null | undefined
}

type Rule<R> = {
  readonly path: KeyPath
  readonly broken: (recipe: R, base: BaseFacts) => boolean
  readonly allowed: (recipe: R, base: BaseFacts) => string
}

const over = (tokens: number, base: BaseFacts): boolean =>
  base.contextTokens !== undefined && tokens > base.contextTokens

const windowRule: Rule<{ max_prompt_length: number; max_completion_length: number }> = {
  path: ['max_completion_length'],
  broken: (recipe, base) => over(recipe.max_prompt_length + recipe.max_completion_length, base),
  allowed: (recipe, base) =>
    `max_prompt_length (${recipe.max_prompt_length}) + max_completion_length must be ${base.contextTokens} or less, the context of the base`
}

/** Values of a block of Q8_0, of which a head must have a whole number (ggml, QK8_0). */
const Q8_BLOCK = 32

const cacheRule: Rule<{ cache_type?: CacheType | undefined }> = {
  path: ['cache_type'],
  broken: (recipe, { headDim }) => recipe.cache_type === 'q8_0' && headDim !== undefined && headDim % Q8_BLOCK !== 0,
  allowed: (_recipe, { headDim }) =>
    `must be f16: q8_0 holds blocks of ${Q8_BLOCK} values, the heads of the base have ${headDim}`
}

type Training = SftRecipe | GrpoRecipe
const isFull = ({ finetuning_type }: Training): boolean => finetuning_type === 'full'

/** What stands in a recipe that says nothing of lora: `init` writes it out, so that it counts as not given. */
const UNTOUCHED = LoraSettings.parse({})

/** Rules of `finetuning_type: full`: what needs an adapter is refused, and a base whose weights cannot be changed in place. */
const FULL_RULES: readonly Rule<Training>[] = [
  {
    path: ['finetuning_type'],
    broken: (recipe, { narrow }) => isFull(recipe) && narrow !== null && narrow !== undefined,
    allowed: (_recipe, { narrow }) =>
      `must be lora on this base, whose ${narrow!.tensor} is ${narrow!.type}: full changes F32 weights in place; "reasonsmith prepare BASE --f32 --to BASE-f32.gguf" writes it in F32`
  },
  {
    path: ['adapter'],
    broken: (recipe) => isFull(recipe) && recipe.adapter !== undefined,
    allowed: () =>
      'belongs to finetuning_type: lora; with full name what to start from as base (an adapter can be merged by "reasonsmith export --merge-type F32")'
  },
  ...(Object.keys(UNTOUCHED) as (keyof LoraSettings)[]).map((key): Rule<Training> => ({
    path: ['lora', key],
    broken: (recipe) => isFull(recipe) && JSON.stringify(recipe.lora[key]) !== JSON.stringify(UNTOUCHED[key]),
    allowed: () => 'belongs to finetuning_type: lora; leave it out with full, which trains every weight'
  }))
]

const SFT_RULES: readonly Rule<SftRecipe>[] = [
  ...FULL_RULES,
  cacheRule,
  {
    path: ['max_length'],
    broken: (recipe, base) => over(recipe.max_length, base),
    allowed: (_recipe, base) => `must be ${base.contextTokens} or less, the context of the base`
  },
  {
    path: ['max_completion_length'],
    broken: (recipe, base) => over(recipe.max_completion_length + 1, base),
    allowed: (_recipe, base) => `must be less than ${base.contextTokens}, the context of the base`
  },
  {
    path: ['held_out_share'],
    broken: (recipe) => recipe.held_out === undefined && recipe.held_out_share >= 1,
    allowed: () => 'must be less than 1, or nothing is left to train on'
  }
]

const positiveLimit = (recipe: GrpoRecipe): number => recipe.reward.l_max ?? recipe.max_completion_length

const GRPO_RULES: readonly Rule<GrpoRecipe>[] = [
  ...FULL_RULES,
  {
    path: ['kl_target'],
    broken: (recipe) => isFull(recipe) && recipe.kl_target === 'base',
    allowed: () => 'must be old with finetuning_type: full: training changes the base itself, so that none is left to compare with' // prettier-ignore
  },
  windowRule,
  cacheRule,
  {
    path: ['minibatches'],
    broken: (recipe) => (recipe.prompts_per_step * recipe.num_generations) % recipe.minibatches !== 0,
    allowed: (recipe) =>
      `must divide the rollouts of a step, prompts_per_step × num_generations = ${recipe.prompts_per_step * recipe.num_generations}`
  },
  {
    path: ['epsilon_high'],
    broken: (recipe) => recipe.epsilon_high !== undefined && recipe.epsilon_high < recipe.epsilon,
    allowed: (recipe) => `must be ${recipe.epsilon} or more, the value of epsilon`
  },
  {
    path: ['delta'],
    broken: (recipe) => recipe.delta !== undefined && recipe.delta <= 1 + (recipe.epsilon_high ?? recipe.epsilon),
    allowed: (recipe) =>
      `must be more than ${1 + (recipe.epsilon_high ?? recipe.epsilon)}, 1 + ${recipe.epsilon_high === undefined ? 'epsilon' : 'epsilon_high'}: within it ratios are clipped already`
  },
  {
    path: ['sampling_correction_cap'],
    broken: (recipe) => recipe.sampling_correction_cap !== undefined && recipe.sampling_correction === 'none',
    allowed: () => 'has no effect without sampling_correction: truncate'
  },
  {
    path: ['reward', 'l_pos_control'],
    broken: ({ reward, ...recipe }) =>
      reward.l_pos_control !== undefined && reward.l_pos_control >= positiveLimit({ reward, ...recipe }),
    allowed: (recipe) => `must be less than l_max, here ${positiveLimit(recipe)}`
  },
  {
    path: ['reward', 'l_neg_control'],
    broken: ({ reward, ...recipe }) =>
      reward.l_neg_control !== undefined && reward.l_neg_control > positiveLimit({ reward, ...recipe }),
    allowed: (recipe) => `must be l_max or less, here ${positiveLimit(recipe)}`
  },
  {
    path: ['eval_steps'],
    broken: (recipe) => recipe.eval_steps !== undefined && recipe.held_out.length === 0,
    allowed: () => 'needs held_out: there is nothing to evaluate on'
  }
]

const repeated = (names: readonly string[]): string[] => names.filter((name, i) => names.indexOf(name) !== i)

const EVALUATE_RULES: readonly Rule<EvaluateRecipe>[] = [
  windowRule,
  cacheRule,
  {
    path: ['policies'],
    broken: (recipe) => repeated(recipe.policies.map((policy) => policy.name)).length > 0,
    allowed: (recipe) => `each name once; twice: ${repeated(recipe.policies.map((policy) => policy.name)).join(', ')}`
  },
  {
    path: ['tasksets'],
    broken: (recipe) => repeated(recipe.tasksets.map((taskset) => taskset.name)).length > 0,
    allowed: (recipe) => `each name once; twice: ${repeated(recipe.tasksets.map((taskset) => taskset.name)).join(', ')}`
  }
]

const RULES: { readonly [K in Recipe['kind']]: readonly Rule<Extract<Recipe, { kind: K }>>[] } = {
  sft: SFT_RULES,
  grpo: GRPO_RULES,
  evaluate: EVALUATE_RULES
}

/** Every rule the recipe breaks; an empty list when it can run on this base. */
export function crossCheck(recipe: Recipe, base: BaseFacts = {}): Problem[] {
  const rules = RULES[recipe.kind] as readonly Rule<Recipe>[]
  return rules
    .filter((rule) => rule.broken(recipe, base))
    .map((rule) => ({ path: rule.path, value: valueAt(recipe, rule.path), allowed: rule.allowed(recipe, base) }))
}
