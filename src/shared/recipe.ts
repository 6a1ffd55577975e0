/**
 * Recipes: what a YAML file may say. Names are those of TRL and PEFT where they have one; each default says whether it is
 * the report's (arXiv 2504.21318), a framework's, or ours. Unknown keys are refused.
 */
import { z } from 'zod'

const count = z.number().int().positive()
const share = z.number().min(0).max(1)
const path = z.string().min(1)

/** Linear layers by PEFT's names. An architecture has either the three and two separate ones or the fused ones. */
export const TARGET_MODULES = [
  'q_proj',
  'k_proj',
  'v_proj',
  'qkv_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'gate_up_proj',
  'down_proj'
] as const
export type TargetModule = (typeof TARGET_MODULES)[number]

/** Where a run computes. `auto`: the GPU that node-llama-cpp finds and that passes its self-test, else the CPU, said aloud. */
export const DEVICES = ['auto', 'cpu', 'cuda', 'vulkan', 'metal'] as const
export const Device = z
  .enum(DEVICES)
  .default('auto')
  .describe('auto: a GPU that passes its self-test, else the CPU; any other is that or an error')
export type Device = z.infer<typeof Device>

/** What is trained: the pairs of an adapter, or every weight of an F32 base. LLaMA-Factory's name and values. */
export const FINETUNING_TYPES = ['lora', 'full'] as const
export type FinetuningType = (typeof FINETUNING_TYPES)[number]

/** Said of a setting that means nothing unless another one has this value; the form hides it then. */
const ONLY_WITH_LORA = { onlyWith: { finetuning_type: 'lora' } } as const

/** PEFT's LoraConfig, as far as it applies. */
export const LoraSettings = z.strictObject({
  r: count.max(1024).default(16),
  lora_alpha: z.number().positive().default(32).describe('scale is lora_alpha / r, or / sqrt(r) with use_rslora'),
  use_rslora: z.boolean().default(false),
  loraplus_lr_ratio: z.number().positive().default(1).describe('LoRA+: learning rate of B over that of A'),
  target_modules: z
    .union([z.array(z.enum(TARGET_MODULES)).min(1), z.literal('all-linear')])
    .default('all-linear')
    .describe(`all-linear: all that the base has; or a list of ${TARGET_MODULES.join(' | ')}`),
  trainable_token_indices: z
    .array(z.union([z.number().int().nonnegative(), z.string().min(1)]))
    .default([])
    .describe(
      'tokens, by id or name, whose rows of embedding and head are trained too, such as ["<think>", "</think>"]; the run then writes a base.gguf that holds them'
    )
})
export type LoraSettings = z.infer<typeof LoraSettings>

/** AdamW and its schedule. */
export const OptimizerSettings = z.strictObject({
  learning_rate: z.number().positive(),
  lr_scheduler_type: z.enum(['constant', 'linear', 'cosine']).default('constant'),
  warmup_steps: z
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe('default: the report’s share of the run, see the recipe'),
  adam_beta1: z.number().min(0).lt(1).default(0.9),
  adam_beta2: z.number().min(0).lt(1).default(0.999),
  adam_epsilon: z.number().positive().default(1e-8),
  weight_decay: z.number().nonnegative().default(1e-4).describe('report: 1e-4'),
  max_grad_norm: z.number().positive().default(1).describe('verl: 1.0')
})
export type OptimizerSettings = z.infer<typeof OptimizerSettings>

type Rates = Readonly<Record<FinetuningType, number>>

/** Learning rates where a recipe names none. Those of whole models are the report's, those of adapters ours. */
const SFT_RATES: Rates = { lora: 2e-4, full: 1e-5 }
const GRPO_RATES: Rates = { lora: 2e-5, full: 5e-8 }

/** The same where the rate may be left out: its default hangs on what is trained. */
const optimizerWithRates = (rates: Rates) => {
  const description = `default: ${rates.lora} with lora (ours), ${rates.full} with full (the report’s)`
  const defaultBy = { finetuning_type: rates }
  const learning_rate = OptimizerSettings.shape.learning_rate.optional().meta({ description, defaultBy })
  return OptimizerSettings.extend({ learning_rate }).prefault({})
}

type WithoutRate = { finetuning_type: FinetuningType; optimizer: z.infer<ReturnType<typeof optimizerWithRates>> }

/** The recipe with the rate that holds. */
const ratesFilledIn =
  (rates: Rates) =>
  <R extends WithoutRate>(recipe: R) => {
    const { learning_rate = rates[recipe.finetuning_type], ...rest } = recipe.optimizer
    return { ...recipe, optimizer: { learning_rate, ...rest } }
  }

export const SamplingSettings = z.strictObject({
  temperature: z.number().positive().max(5).default(1),
  top_k: z.number().int().nonnegative().default(0).describe('0: off'),
  top_p: share.default(1),
  min_p: share.default(0)
})
export type SamplingSettings = z.infer<typeof SamplingSettings>

/** How the sampler keeps keys and values. */
const cacheType = z
  .enum(['f16', 'q8_0'])
  .optional()
  .describe(
    'keys and values while sampling; q8_0: about half the memory, heads must be multiples of 32; default: f16, q8_0 where only that fits'
  )
export type CacheType = NonNullable<z.infer<typeof cacheType>>

/** How answers are sampled when they are measured or shown: the report's advice. */
export const AnsweringSettings = SamplingSettings.extend({
  temperature: SamplingSettings.shape.temperature.unwrap().default(0.8).describe('report: 0.8'),
  top_k: SamplingSettings.shape.top_k.unwrap().default(50).describe('report: 50; 0: off'),
  top_p: share.default(0.95).describe('report: 0.95')
})

/** Where the tasks of GRPO, curation and evaluation come from: a file, or a generated family. */
export const TaskSource = z.union([
  z.strictObject({
    file: path,
    format: z.enum(['auto', 'gsm8k', 'prompt_solution', 'svamp', 'multiarith']).default('auto'),
    skip: z.number().int().nonnegative().default(0),
    limit: count.optional()
  }),
  z.strictObject({
    family: z.enum(['arithmetic', 'countdown', 'linear', 'chain']),
    difficulty: z.union([count, z.array(count).min(1)]).default(1),
    count: count.default(256),
    seed: z.number().int().default(0)
  })
])
export type TaskSource = z.infer<typeof TaskSource>

const runSettings = {
  base: path.describe('the GGUF that is trained on'),
  finetuning_type: z
    .enum(FINETUNING_TYPES)
    .default('lora')
    .describe(
      'lora: an adapter beside the frozen base; full: every weight of a small F32 base, which leaves a model.gguf and takes 16 bytes a weight and more'
    ),
  adapter: path.optional().meta({
    description:
      'an adapter to start from: a GGUF, or a folder of PEFT’s; its rank, alpha and targets hold instead of lora’s',
    ...ONLY_WITH_LORA
  }),
  output_dir: path,
  seed: z.number().int().default(0),
  device: Device,
  threads: count
    .optional()
    .describe('default: the processors this process may use; fewer where other programs work beside it'),
  memory_limit_mib: count
    .optional()
    .describe('default: 80 % of what is free on the device; the fastest settings that fit are chosen, and said'),
  rehearsal: z
    .boolean()
    .default(true)
    .describe('the longest batch runs once before the first step, so that a run without room fails at once'),
  system_message: z.string().optional().describe('default: the recipe’s reasoning system message'),
  save_steps: count.optional(),
  save_minutes: z.number().positive().default(10),
  logging_steps: count.default(1)
}

const loraSettings = LoraSettings.prefault({}).meta({
  description: 'with finetuning_type: lora',
  ...ONLY_WITH_LORA
})

const SftSettings = z.strictObject({
  kind: z.literal('sft'),
  ...runSettings,
  train: path.describe('messages JSONL'),
  held_out: path.optional().describe('default: a share of train, see held_out_share'),
  held_out_share: share.default(0.05),
  max_bad_share: share.default(0.02).describe('refuse to start when more of the samples are malformed'),
  max_length: count.default(2048).describe('tokens; longer samples are dropped whole and listed'),
  packing: z.boolean().default(true),
  num_train_epochs: z.number().positive().default(2).describe('report: about two passes'),
  max_steps: count.optional(),
  train_batch_size: count.default(32).describe('samples per optimizer step; report: 32'),
  eval_steps: count.optional(),
  eval_samples: z
    .number()
    .int()
    .nonnegative()
    .default(16)
    .describe('answers sampled at each evaluation, for mean response length'),
  max_completion_length: count.default(512),
  cache_type: cacheType,
  lora: loraSettings,
  optimizer: optimizerWithRates(SFT_RATES)
})
export const SftRecipe = SftSettings.transform(ratesFilledIn(SFT_RATES))
export type SftRecipe = z.infer<typeof SftRecipe>

/** The report's length-aware reward. Every length is scaled from `max_completion_length` unless given. */
export const RewardSettings = z.strictObject({
  l_max: count.optional().describe('report: 31744 of 31744'),
  l_pos_control: count.optional().describe('report: 25600 of 31744'),
  l_neg_control: count.optional().describe('report: 3702 of 31744'),
  ngram: count.optional().describe('report: 5'),
  ngram_threshold: count.optional().describe('report: 5, strictly more'),
  weight_accuracy: z.number().default(8 / 13),
  weight_repetition: z.number().default(1 / 13),
  override_order: z.enum(['eos_first', 'think_first']).default('eos_first').describe('not found in the report; ours'),
  repetition_denominator: z.enum(['positions', 'types']).default('positions').describe('sources conflict; ours')
})
export type RewardSettings = z.infer<typeof RewardSettings>

export const GrpoSettings = z.strictObject({
  kind: z.literal('grpo'),
  ...runSettings,
  tasks: z.array(TaskSource).min(1),
  held_out: z.array(TaskSource).default([]),
  max_steps: count.default(90).describe('report: 90'),
  prompts_per_step: count.default(8).describe('report: 64'),
  num_generations: count.min(2).default(8).describe('G; report: 8'),
  max_prompt_length: count.default(512),
  max_completion_length: count.default(512).describe('report: 31744'),
  rollout_width: count
    .max(256)
    .optional()
    .describe('sequences decoded at once; default: as many as fit and are of use'),
  cache_type: cacheType,
  sampling: SamplingSettings.prefault({}).describe(
    'the loss is of the policy under this temperature (as in TRL) and before top_k, top_p and min_p: what those filter out is not in it'
  ),
  reward: RewardSettings.prefault({}),
  loss_type: z
    .enum(['grpo', 'dapo', 'dr_grpo', 'bnpo'])
    .default('grpo')
    .describe('as printed in the report; verl ran dapo'),
  importance_sampling_level: z.enum(['token', 'sequence']).default('token').describe('sequence: GSPO'),
  scale_rewards: z.enum(['group', 'none']).default('group'),
  std: z.enum(['population', 'sample']).default('sample').describe('verl and TRL: sample'),
  std_epsilon: z.number().nonnegative().default(1e-6).describe('verl: 1e-6'),
  epsilon: z.number().positive().default(0.2).describe('verl default; not in the report'),
  epsilon_high: z.number().positive().optional().describe('clip-higher (DAPO 0.28); default: epsilon'),
  delta: z
    .number()
    .gt(1)
    .optional()
    .describe('dual clip for negative advantages (verl 3.0), more than 1 + epsilon_high; off by default'),
  num_iterations: count.default(1).describe('inner epochs over one set of rollouts'),
  minibatches: count.default(1).describe('optimizer steps per inner epoch'),
  beta: z.number().nonnegative().default(0.001).describe('report: 0.001'),
  kl_target: z
    .enum(['old', 'base'])
    .default('old')
    .describe(
      'report prints the policy that sampled; base: adapter scale 0; with one update per set of rollouts the KL to the old policy is zero, so beta then acts only with base'
    ),
  kl_estimator: z.enum(['k1', 'k2', 'k3']).default('k3').describe('not in the report; verl: k3'),
  entropy_coef: z.number().nonnegative().default(0.001).describe('report: 0.001'),
  sampling_correction: z
    .enum(['none', 'truncate'])
    .default('none')
    .describe('weights by train/decode probability ratio, capped'),
  sampling_correction_cap: z.number().positive().optional().describe('of truncate; default: 2, as TRL'),
  max_logprob_difference: z.number().positive().default(0.05).describe('a larger mean |Δlogprob| warns'),
  dynamic_sampling: z
    .boolean()
    .default(true)
    .describe(
      'leave out groups whose rewards are all equal and sample others instead (DAPO); false: they stay in the update'
    ),
  max_refills: z
    .number()
    .int()
    .nonnegative()
    .default(3)
    .describe('extra rounds of sampling per step; 0: what is left out is not replaced'),
  eval_steps: count.optional(),
  eval_runs: count.default(1),
  stop_entropy: z
    .number()
    .nonnegative()
    .default(0.005)
    .describe('mean entropy under this for five steps stops the run'),
  stop_clipped: share.default(0.9).describe('share of rollouts cut at the limit, for five steps'),
  stop_kl: z.number().positive().default(5).describe('mean KL over this for five steps'),
  lora: loraSettings,
  optimizer: optimizerWithRates(GRPO_RATES)
})
export const GrpoRecipe = GrpoSettings.transform(ratesFilledIn(GRPO_RATES))
export type GrpoRecipe = z.infer<typeof GrpoRecipe>

export const EvaluateRecipe = z.strictObject({
  kind: z.literal('evaluate'),
  base: path,
  output_dir: path,
  policies: z
    .array(z.strictObject({ name: z.string().min(1), adapter: path.optional(), base: path.optional() }))
    .min(1)
    .describe(
      'each a name, and an adapter of the base above or a base of its own, such as the model.gguf that finetuning_type: full left; the vocabulary must be the same, prompts are the first base’s'
    ),
  tasksets: z.array(z.strictObject({ name: z.string().min(1), tasks: z.array(TaskSource).min(1) })).min(1),
  runs: count.default(5).describe('report: 5'),
  seed: z.number().int().default(0),
  device: Device,
  threads: count.optional(),
  memory_limit_mib: count.optional(),
  system_message: z.string().optional(),
  max_prompt_length: count.default(512),
  max_completion_length: count.default(512),
  rollout_width: count.max(256).optional(),
  cache_type: cacheType,
  sampling: AnsweringSettings.prefault({}),
  lenient: z
    .boolean()
    .default(false)
    .describe('also accept a number inside a sentence; for bases never taught the answer form')
})
export type EvaluateRecipe = z.infer<typeof EvaluateRecipe>

export const Recipe = z.discriminatedUnion('kind', [SftRecipe, GrpoRecipe, EvaluateRecipe])
export type Recipe = z.infer<typeof Recipe>

/** The settings that have a say, as run folders and cards keep them: where every weight is trained, none of lora's. */
export function effectiveSettings(recipe: Recipe): object {
  if (recipe.kind === 'evaluate' || recipe.finetuning_type === 'lora') return recipe
  const { lora: _, ...rest } = recipe
  return rest
}
