/** Child entry that tries one GPU (`argv[2]`) and answers once over Node's own channel: a build that aborts takes only it. */
import { AppError } from '../shared/errors.ts'
import type { Gpu } from './engine/ffi/libraries.ts'
import { reportDevice } from './engine/self-test/device-report.ts'
import type { TrialAnswer } from './engine/self-test/device-report.ts'

const [, , gpu, threads] = process.argv
let answer: TrialAnswer
try {
  answer = { report: await reportDevice(gpu as Gpu, threads === undefined ? undefined : Number(threads)) }
} catch (error) {
  const hint = error instanceof AppError ? error.hint : undefined
  answer = { failed: { message: (error as Error).message, hint } }
}
process.send?.(answer, () => process.exit(0))
