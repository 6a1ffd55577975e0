/** The order in which a person decides: what, on what, how much, how. Settings no section names come last, in their own. */
import type { Field } from '../../../shared/contract/recipes.ts'

export type Section = { readonly title: string; readonly says: string; readonly fields: readonly Field[] }

type Rule = { readonly title: string; readonly says: string; readonly names: readonly string[]; readonly open: boolean }

const RULES: readonly Rule[] = [
  {
    title: 'Model and data',
    says: 'what is trained, on what, and where the result goes',
    names: [
      'base',
      'finetuning_type',
      'adapter',
      'train',
      'tasks',
      'held_out',
      'held_out_share',
      'output_dir',
      'policies',
      'tasksets',
      'system_message'
    ],
    open: true
  },
  {
    title: 'Size of the run',
    says: 'how long it takes',
    names: [
      'num_train_epochs',
      'max_steps',
      'train_batch_size',
      'prompts_per_step',
      'num_generations',
      'num_iterations',
      'minibatches',
      'runs',
      'max_length',
      'packing',
      'max_prompt_length',
      'max_completion_length'
    ],
    open: true
  },
  { title: 'Adapter', says: 'what is trained of the model', names: ['lora'], open: false },
  { title: 'Optimizer', says: 'how fast it learns', names: ['optimizer'], open: false },
  {
    title: 'Reward',
    says: 'what counts as good, by verdict and length',
    names: ['reward'],
    open: false
  },
  {
    title: 'Sampling',
    says: 'how answers are drawn',
    names: ['sampling', 'dynamic_sampling', 'max_refills', 'rollout_width', 'cache_type', 'lenient'],
    open: false
  },
  {
    title: 'Policy loss',
    says: 'how rewards become an update',
    names: [
      'loss_type',
      'importance_sampling_level',
      'scale_rewards',
      'std',
      'std_epsilon',
      'epsilon',
      'epsilon_high',
      'delta',
      'beta',
      'kl_target',
      'kl_estimator',
      'entropy_coef',
      'sampling_correction',
      'sampling_correction_cap',
      'max_logprob_difference'
    ],
    open: false
  },
  {
    title: 'Measuring on the way',
    says: 'evaluations while it runs',
    names: ['eval_steps', 'eval_samples', 'eval_runs', 'logging_steps'],
    open: false
  },
  {
    title: 'Saving and stopping',
    says: 'checkpoints, and when a run ends itself',
    names: ['save_steps', 'save_minutes', 'stop_entropy', 'stop_clipped', 'stop_kl', 'max_bad_share'],
    open: false
  },
  { title: 'Machine', says: 'threads, memory, seed', names: ['seed', 'threads', 'memory_limit_mib'], open: false }
]

/** `kind` is chosen above the form, so no section shows it. Sections without a setting of this kind are left out. */
export function sections(fields: readonly Field[]): (Section & { readonly open: boolean })[] {
  const shown = fields.filter((field) => field.name !== 'kind')
  const named = new Set(RULES.flatMap((rule) => rule.names))
  const rest = shown.filter((field) => !named.has(field.name))
  const known = RULES.map(({ title, says, names, open }) => ({
    title,
    says,
    open,
    fields: names.flatMap((name) => shown.filter((field) => field.name === name))
  }))
  return [...known, { title: 'More', says: 'everything else', open: false, fields: rest }].filter(
    (section) => section.fields.length > 0
  )
}
