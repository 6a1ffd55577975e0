/**
 * The worker: a child process that runs one job and may die of it. The only entry that loads native code; each job's
 * module is imported when it is asked for.
 */
import { serveJob } from './jobs/serve-job.ts'

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
  tokens: async () => (await import('./policy/tokens.ts')).runTokens,
  plan: async () => (await import('./training/plan-job.ts')).runPlan,
  download: async () => (await import('./data/models/download.ts')).runDownload
})
