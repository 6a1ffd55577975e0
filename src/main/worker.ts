/**
 * The worker: a child process that runs one job and may die of it. The only entry that loads native code; each job's
 * module is imported when it is asked for.
 */
import { answerQuestions } from './jobs/questions.ts'
import { serveJob } from './jobs/serve-job.ts'
import type { JobFunction } from '../shared/worker-contract.ts'

const tokens = async (): Promise<JobFunction<'tokens'>> => (await import('./policy/tokens.ts')).runTokens
const plan = async (): Promise<JobFunction<'plan'>> => (await import('./training/plan-job.ts')).runPlan

serveJob({
  sft: async () => (await import('./training/sft.ts')).runSft,
  grpo: async () => (await import('./training/grpo.ts')).runGrpo,
  evaluate: async () => (await import('./evaluation/evaluate.ts')).runEvaluation,
  sample: async () => (await import('./evaluation/sample.ts')).runSample,
  report: async () => (await import('./evaluation/report.ts')).runReport,
  demo: async () => (await import('./training/demo.ts')).runDemo,
  prepare: async () => (await import('./training/prepare.ts')).runPrepare,
  export: async () => (await import('./training/export.ts')).runExport,
  import: async () => (await import('./training/import.ts')).runImport,
  doctor: async () => (await import('./engine/doctor.ts')).runDoctor,
  play: async () => (await import('./evaluation/play.ts')).runPlay,
  tokens,
  plan,
  questions: async () => {
    const { loadedGpu } = await import('./engine/ffi/libraries.ts')
    return answerQuestions({ tokens, plan }, () => typeof loadedGpu() === 'string')
  },
  download: async () => (await import('./data/models/download.ts')).runDownload
})
