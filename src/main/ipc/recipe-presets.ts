/** Recipes to begin with. Short: only what differs from the defaults or must be filled in, each with its reason. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { z } from 'zod'
import type { Preset } from '../../shared/contract/recipes.ts'
import type { Host } from './host.ts'

/** The base that ships with the program: beside the sources, or beside what was built from them; null where it is missing. */
export function bundledBase(): string | null {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'resources', 'base', 'base.gguf')
    if (existsSync(file)) return file.replace(/app\.asar([\\/])/, 'app.asar.unpacked$1')
  }
  return null
}

export function presets(host: Host): z.infer<typeof Preset>[] {
  const base = bundledBase() ?? 'base.gguf'
  const traces = newest(host, 'traces') ?? 'train.jsonl'
  return [
    {
      id: 'quick-sft',
      kind: 'sft',
      title: 'Quick look: teach',
      description:
        'A few dozen steps of SFT with a small adapter, to see that data and base fit together. Minutes on a CPU.',
      yaml: `kind: sft
base: ${quoted(base)} # any llama-type GGUF
train: ${quoted(traces)} # messages JSONL: import one under Datasets
max_length: 512
train_batch_size: 8
max_steps: 40 # leave out for full passes over the data
eval_steps: 20
lora:
  r: 8
  lora_alpha: 16
`
    },
    {
      id: 'report-sft',
      kind: 'sft',
      title: 'Report-like SFT',
      description:
        'Two passes over reasoning traces, 32 samples a step, weight decay 1e-4, as in arXiv 2504.21318; the learning rate is a LoRA one.',
      yaml: `kind: sft
base: ${quoted(base)}
train: ${quoted(traces)}
# finetuning_type: full # every weight, as the report: a small base in F32 (Models, Prepare), without the learning_rate below
max_length: 4096 # the report trained at 32k; longer samples are dropped whole and listed
packing: true
num_train_epochs: 2 # report: about two passes
train_batch_size: 32 # report: 32
eval_steps: 50
optimizer:
  learning_rate: 2.0e-4 # the report's 1e-5 is for full-parameter training; LoRA needs about ten times as much
  weight_decay: 1.0e-4 # report: 1e-4
`
    },
    {
      id: 'quick-grpo',
      kind: 'grpo',
      title: 'Quick look: sharpen',
      description:
        'A dozen steps of GRPO on generated arithmetic, to watch rewards and groups. Start it from an SFT adapter.',
      yaml: `kind: grpo
base: ${quoted(base)}
# adapter: runs/…/adapter.gguf # the one SFT left; GRPO on a base that cannot think yet learns little
tasks:
  - family: arithmetic
    difficulty: [1, 2]
    count: 128
held_out:
  - family: arithmetic
    difficulty: [1, 2]
    count: 32
    seed: 1
max_steps: 12
prompts_per_step: 4
num_generations: 8
max_completion_length: 128
eval_steps: 6
`
    },
    {
      id: 'report-grpo',
      kind: 'grpo',
      title: 'Report-like GRPO',
      description:
        '90 steps, groups of 8, the length-aware reward and its repetition penalty, KL 0.001 and entropy 0.001, as in arXiv 2504.21318.',
      yaml: `kind: grpo
base: ${quoted(base)}
# adapter: runs/…/adapter.gguf # the one SFT left
tasks:
  - file: tasks.jsonl # prompt and solution, one a line: import one under Datasets
held_out:
  - file: held-out.jsonl
max_steps: 90 # report: 90
prompts_per_step: 64 # report: 64
num_generations: 8 # report: 8
max_prompt_length: 512
max_completion_length: 4096 # report: 31744; every length of the reward scales with it
beta: 0.001 # report: 0.001
entropy_coef: 0.001 # report: 0.001
eval_steps: 10
`
    },
    {
      id: 'evaluate',
      kind: 'evaluate',
      title: 'Measure',
      description:
        'Five runs of every policy on a taskset, sampled as the report advises, with intervals and paired tests.',
      yaml: `kind: evaluate
base: ${quoted(base)}
policies:
  - name: base
# - name: SFT
#   adapter: runs/…/adapter.gguf
tasksets:
  - name: arithmetic
    tasks:
      - family: arithmetic
        difficulty: [1, 2]
        count: 64
        seed: 2
runs: 5 # report: 5
max_completion_length: 256
`
    }
  ]
}

const quoted = (path: string): string => (/^[\w./@%+=-]+$/.test(path) ? path : JSON.stringify(path))

function newest(host: Host, purpose: 'traces' | 'tasks'): string | null {
  const row = host.store.opened.db
    .prepare('SELECT path FROM datasets WHERE purpose = ? AND trashed_at IS NULL ORDER BY created_at DESC LIMIT 1')
    .pluck()
    .get(purpose)
  return (row as string | undefined) ?? null
}
