/** A made-up report with everything in it: three stages, two tasksets, curves, hostile text. */
import type { Curve, ReportData, RunResult, StageResult } from '../../../src/main/evaluation/report/data.ts'
import { seeded } from '../../../src/shared/random.ts'

const STAGES = { base: 0.12, sft: 0.58, grpo: 0.7 } as const
type Stage = keyof typeof STAGES

function result(stage: Stage, taskset: string, tasks: number, hardness: number): StageResult {
  const random = seeded('sample', stage, taskset)
  const run = (ability: number): RunResult => {
    const correct = random.next() < ability
    const cut = !correct && random.next() < 0.2
    const length = cut ? 512 : Math.round((stage === 'base' ? 60 : 180) * (0.6 + random.next()) * (correct ? 1 : 1.5))
    return {
      correct,
      length,
      stop: cut ? 'length' : 'eos',
      verdict: correct ? 'correct' : cut ? 'unreadable' : 'wrong',
      answer: cut ? null : String(correct ? 0 : random.integer(1, 3))
    }
  }
  const items = Array.from({ length: tasks }, (_, i) => {
    const ability = Math.min(0.98, Math.max(0.01, STAGES[stage] - hardness + 0.35 * Math.sin(i * 1.7)))
    return { taskId: `${taskset}-${i}`, runs: Array.from({ length: 8 }, () => run(ability)) }
  })
  return { stage, taskset, items }
}

function curve(stage: string, name: string, from: number, to: number, noise: number, every = 1, unit?: string): Curve {
  const random = seeded('curve', stage, name)
  const steps = Array.from({ length: 90 / every + (every > 1 ? 1 : 0) }, (_, i) => (every > 1 ? i * every : i + 1))
  const points = steps.map(
    (step) => [step, from + (to - from) * (1 - Math.exp(-step / 30)) + noise * random.normal()] as const
  )
  return {
    stage,
    name,
    points,
    ...(unit !== undefined && { unit }),
    ...(every > 1 && { band: points.map(([s, v]) => [s, v - 0.05, v + 0.05] as const) })
  }
}

export const sample: ReportData = {
  title: 'Arithmetic and unit chains: base → SFT → GRPO',
  notes: ['A made-up run that shows every part of a report. 1.3M parameters, LoRA r = 16 on all seven projections.'],
  date: '2026-03-14T09:26:53Z',
  command: 'reasonsmith demo --seed 3 --workspace ./workspace && reasonsmith report ./workspace/runs/demo',
  stages: [
    { name: 'base' },
    { name: 'sft', adapter: 'runs/sft/adapter.gguf' },
    { name: 'grpo', adapter: 'runs/grpo/adapter.gguf' }
  ],
  results: (['arithmetic', 'chain'] as const).flatMap((taskset, t) =>
    (['base', 'sft', 'grpo'] as const).map((stage) =>
      result(stage, taskset, 120, stage === 'grpo' && t === 1 ? 0.2 : t * 0.1)
    )
  ),
  curves: [
    curve('sft', 'loss', 2.1, 0.31, 0.04),
    curve('sft', 'eval/loss', 2.0, 0.35, 0.01, 10),
    curve('sft', 'learning_rate', 0, 2e-4, 0),
    curve('grpo', 'eval/accuracy', 0.56, 0.71, 0.008, 10),
    curve('grpo', 'completions/mean_length/correct', 175, 214, 6),
    curve('grpo', 'completions/mean_length/wrong', 260, 338, 14),
    curve('grpo', 'completions/mean_length/unreadable', 512, 512, 0),
    curve('grpo', 'reward', -0.05, 0.38, 0.05),
    curve('grpo', 'rewards/accuracy/mean', -0.1, 0.5, 0.06),
    curve('grpo', 'rewards/repetition/mean', -0.08, -0.01, 0.006),
    curve('grpo', 'entropy', 0.62, 0.31, 0.015),
    curve('grpo', 'kl', 0.00002, 0.00061, 0.00003),
    curve('grpo', 'grad_norm', 0.41, 0.28, 0.04),
    curve('grpo', 'sampling/sampling_logp_difference/mean', 0.0021, 0.0024, 0.0001),
    curve('grpo', 'completions/clipped_ratio', 0.11, 0.03, 0.006),
    curve('grpo', 'a metric of ours', 10_200, 18_400, 300, 1, 'bytes')
  ],
  traces: [
    {
      taskId: 'arithmetic-17',
      taskset: 'arithmetic',
      prompt: 'Compute (17 + 25) * 3 - 8.\nGive the result as a number.',
      solution: '118',
      stages: [
        {
          stage: 'base',
          thinking: null,
          answer: null,
          text: 'The answer is 17 17 17 17 <b>not bold</b>',
          verdict: 'unreadable (no closing tag)',
          stop: 'length',
          length: 512
        },
        {
          stage: 'sft',
          thinking: 'First the bracket: 17 + 25 = 42.\nThen 42 * 3 = 124.\nThen 124 - 8 = 116.',
          answer: 'The result is \\boxed{116}.',
          verdict: 'wrong',
          stop: 'eos',
          length: 61
        },
        {
          stage: 'grpo',
          thinking:
            'First the bracket: 17 + 25 = 42.\nThen 42 * 3 = 126. Check: 40 * 3 = 120 and 2 * 3 = 6, together 126.\nThen 126 - 8 = 118.',
          answer: 'The result is \\boxed{118}.',
          verdict: 'correct',
          stop: 'eos',
          length: 94
        }
      ]
    },
    {
      taskId: 'chain-4 <script>alert(1)</script>',
      prompt: 'A roll holds 3 m. How many cm are 4 rolls & a ``` fence?',
      solution: '1200',
      stages: [
        { stage: 'base', thinking: '"3 m" | 4', answer: '12', verdict: 'wrong', stop: 'eos', length: 20 },
        {
          stage: 'sft',
          thinking: '3 m = 300 cm; 4 * 300 = 1200.',
          answer: '\\boxed{1200}',
          verdict: 'correct',
          stop: 'eos',
          length: 34
        },
        {
          stage: 'grpo',
          thinking: '3 m = 300 cm; 4 * 300 = 1200.',
          answer: '\\boxed{1200}',
          verdict: 'correct',
          stop: 'eos',
          length: 34
        }
      ]
    }
  ],
  settings: [
    {
      name: 'sft',
      yaml: 'kind: sft\nseed: 3\nlora:\n  r: 16\n  lora_alpha: 32\noptimizer:\n  learning_rate: 0.0002\n'
    },
    { name: 'grpo', yaml: 'kind: grpo\nseed: 3\nnum_generations: 8\nbeta: 0.001\nentropy_coef: 0.001\n' }
  ],
  seeds: { run: 3, tasks: 11 },
  environment: {
    machine: '2 cores, 8 GiB',
    system: 'Debian 12, x64',
    node: '24.21.0',
    'node-llama-cpp': '3.22.1',
    ggml: '0.25.1',
    threads: '2'
  }
}
