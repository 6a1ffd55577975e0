/** What the demo does with the bundled base, in its full form and in the short form that only shows that all works. */
export type DemoSettings = {
  readonly maxPromptLength: number
  readonly maxCompletionLength: number
  readonly curation: {
    readonly tasks: readonly { readonly family: string; readonly difficulty: number | readonly number[] }[]
    readonly pool: number
    readonly test: number
    readonly heldOut: number
    /**
     * Answers of the base per task at most, so many in a round, and the band of pass rates that is kept. The base solves a
     * few in a hundred, so it takes several answers and a large pool to find the tasks at the edge of its ability.
     */
    readonly samples: number
    readonly perRound: number
    readonly band: { readonly minRate?: number; readonly maxRate?: number }
    /** Traces that are taught at most. */
    readonly lessons: number
  }
  readonly sft: Readonly<Record<string, unknown>>
  readonly grpo: Readonly<Record<string, unknown>>
  readonly evaluate: Readonly<Record<string, unknown>>
}

const tasks = [{ family: 'arithmetic', difficulty: [2, 3] }]
const sampling = { temperature: 1, top_k: 0, top_p: 1 }

export const DEMO: Readonly<Record<'full' | 'short', DemoSettings>> = {
  full: {
    maxPromptLength: 64,
    maxCompletionLength: 64,
    curation: {
      tasks,
      pool: 4000,
      test: 160,
      heldOut: 32,
      samples: 8,
      perRound: 4,
      band: { minRate: 0, maxRate: 0.9 },
      lessons: 1152
    },
    sft: {
      max_steps: 36,
      train_batch_size: 32,
      eval_steps: 12,
      eval_samples: 16,
      optimizer: { learning_rate: 2e-3, lr_scheduler_type: 'cosine' }
    },
    grpo: {
      max_steps: 45,
      prompts_per_step: 16,
      num_generations: 8,
      rollout_width: 64, // the width its gains were measured at
      loss_type: 'dapo',
      epsilon_high: 0.28,
      max_refills: 0,
      eval_steps: 15,
      eval_runs: 4,
      optimizer: { learning_rate: 4e-4 }
    },
    evaluate: { runs: 8, sampling }
  },
  short: {
    maxPromptLength: 64,
    maxCompletionLength: 64,
    curation: {
      tasks,
      pool: 400,
      test: 24,
      heldOut: 8,
      samples: 8,
      perRound: 4,
      band: { minRate: 0, maxRate: 0.9 },
      lessons: 96
    },
    sft: { max_steps: 6, train_batch_size: 16, eval_steps: 3, eval_samples: 4, optimizer: { learning_rate: 2e-3 } },
    grpo: {
      max_steps: 3,
      prompts_per_step: 4,
      num_generations: 4,
      max_refills: 0,
      eval_steps: 3,
      optimizer: { learning_rate: 5e-4 }
    },
    evaluate: { runs: 2, sampling }
  }
}
