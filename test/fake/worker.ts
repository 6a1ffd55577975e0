/** A worker whose behaviour is scripted by the prompt of a `sample` job: what real ones do at their worst. */
import { AppError } from '../../src/shared/errors.ts'
import type { JobContext } from '../../src/shared/worker-contract.ts'
import { serveJob } from '../../src/main/jobs/serve-job.ts'

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const timer = setInterval(() => {
      if (!signal.aborted) return
      clearInterval(timer)
      reject(new AppError('cancelled', 'stopped'))
    }, 5)
  })

const SCRIPTS: Readonly<Record<string, (context: JobContext) => unknown>> = {
  done: ({ emit, runDir }) => {
    emit({ kind: 'phase', name: 'rollout' })
    emit({ kind: 'step', step: 1, of: 2, metrics: { loss: 0.5, reward: Number.NaN } })
    emit({ kind: 'progress', label: 'rollout', done: 1, of: 4 })
    emit({ kind: 'progress', label: 'rollout', done: 2, of: 4 })
    return { lines: ['all done'], runDir }
  },
  text: ({ emit }) => {
    emit({ kind: 'text', part: 'thinking', text: 'hm' })
    emit({ kind: 'text', part: 'answer', text: '42' })
  },
  refuse: () => {
    throw new AppError('data', 'train.jsonl:3: bad JSON', 'mend the line')
  },
  bug: () => {
    throw new TypeError('x is not a function')
  },
  disk: () => {
    throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC', path: 'a.bin', syscall: 'write' })
  },
  later: () => {
    setTimeout(() => {
      throw new Error('thrown in a timer')
    }, 5)
    return new Promise(() => undefined)
  },
  abort: ({ emit }) => {
    emit({ kind: 'phase', name: 'train' })
    process.stderr.write('before\nggml.c:123: GGML_ASSERT(ne0 == 4) failed\nframe 1\nframe 2\nframe 3\nframe 4\n')
    setTimeout(() => process.abort(), 50)
    return new Promise(() => undefined)
  },
  exit: () => process.exit(3),
  cancel: ({ emit, signal }) => {
    emit({ kind: 'phase', name: 'train' })
    return untilAborted(signal)
  },
  hang: ({ emit }) => {
    emit({ kind: 'phase', name: 'train' })
    return new Promise(() => setInterval(() => undefined, 1000))
  },
  stuck: ({ emit }) => {
    emit({ kind: 'phase', name: 'native call' })
    setTimeout(() => {
      for (;;);
    }, 20)
    return new Promise(() => undefined)
  }
}

const unused = (): Promise<never> => Promise.reject(new Error('the scripted worker only samples'))

serveJob({
  sft: unused,
  grpo: () => Promise.resolve((_input, context) => Promise.resolve(SCRIPTS['abort']!(context))),
  evaluate: unused,
  doctor: unused,
  demo: unused,
  report: unused,
  export: unused,
  play: unused,
  tokens: unused,
  plan: unused,
  download: unused,
  sample: () => Promise.resolve(async ({ prompt }, context) => SCRIPTS[prompt]!(context))
})
