/** A worker whose behaviour is scripted by the prompt of a `sample` job: what real ones do at their worst. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../src/shared/errors.ts'
import type { JobContext, JobFunction, ToPlay } from '../../src/shared/worker-contract.ts'
import { partialOf } from '../../src/main/files/partial.ts'
import { answerQuestions } from '../../src/main/jobs/questions.ts'
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
  killed: ({ emit }) => {
    emit({ kind: 'phase', name: 'train' })
    process.stderr.write('the last words\n')
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50)
    return new Promise(() => undefined)
  },
  /** A training run of 12 short steps that saves itself when it is stopped and goes on from there. */
  steps: async ({ emit, signal, afterStep, runDir }) => {
    const saved = existsSync(runDir)
      ? readdirSync(runDir).map((name) => Number(/^checkpoint-(\d+)$/.exec(name)?.[1] ?? 0))
      : []
    emit({ kind: 'phase', name: 'training' })
    for (let step = Math.max(0, ...saved) + 1; step <= 12; step++) {
      await pause(15)
      emit({ kind: 'step', step, of: 12, metrics: { loss: 1 / step } })
      if (!signal.aborted && afterStep?.aborted !== true) continue
      mkdirSync(join(runDir, `checkpoint-${step}`), { recursive: true })
      writeFileSync(join(runDir, `checkpoint-${step}`, 'manifest.json'), '{}')
      emit({ kind: 'checkpoint', step, path: join(runDir, `checkpoint-${step}`) })
      throw new AppError('cancelled', 'stopped')
    }
    emit({ kind: 'end', how: 'done', reason: 'trained 12 steps' })
    return { lines: ['well done'] }
  },
  /** Answers what it is asked, a letter at a time. */
  play: ({ emit, signal, hear }) => {
    const stopped = new Set<string>()
    hear?.((message) => {
      const said = message as ToPlay
      if (said.k === 'stop') return void stopped.add(said.id)
      const { id, turns } = said
      void (async () => {
        for (const letter of turns.at(-1)!.content) {
          if (stopped.has(id)) break
          emit({ kind: 'answering', id, state: 'answering', text: letter, tokens: 1 })
          await pause(10)
        }
        const end = { stop: stopped.has(id) ? 'cancelled' : 'eos', tokensPerSecond: 100, problem: null }
        emit({ kind: 'answering', id, state: 'answering', text: '', tokens: 3, end })
      })()
    })
    return untilAborted(signal)
  },
  stuck: ({ emit }) => {
    emit({ kind: 'phase', name: 'native call' })
    setTimeout(() => {
      for (;;);
    }, 20)
    return new Promise(() => undefined)
  }
}

/** Short jobs, scripted by their file. They tell which process answered. */
const QUESTIONS: Readonly<Record<string, (signal: AbortSignal) => unknown>> = {
  pid: () => ({ pid: process.pid }),
  slow: async () => (await pause(100), { pid: process.pid }),
  refuse: () => {
    throw new AppError('data', 'row 3 is no trace', 'mend the row')
  },
  hang: () => new Promise(() => setInterval(() => undefined, 1000)),
  'until stopped': untilAborted,
  abort: () => {
    process.stderr.write('ggml.c:9: GGML_ASSERT(ok) failed\n')
    setTimeout(() => process.abort(), 50)
    return new Promise(() => undefined)
  }
}

const unused = (): Promise<never> => Promise.reject(new Error('the scripted worker only samples'))

serveJob({
  // A recipe says which script by its system message.
  sft: () =>
    Promise.resolve(async ({ recipe }, context) => (SCRIPTS[recipe.system_message ?? ''] ?? (() => unused()))(context)),
  grpo: () => Promise.resolve((_input, context) => Promise.resolve(SCRIPTS['abort']!(context))),
  evaluate: unused,
  doctor: unused,
  demo: unused,
  report: unused,
  // Dies half way.
  export: () =>
    Promise.resolve(({ to }, context) => {
      mkdirSync(join(partialOf(to), 'peft'), { recursive: true })
      return Promise.resolve(SCRIPTS['killed']!(context))
    }),
  import: unused,
  prepare: unused,
  play: () => Promise.resolve((_input, context) => Promise.resolve(SCRIPTS['play']!(context))),
  tokens: unused,
  plan: unused,
  // Each answer says that a GPU is open in the process once a question was about the base "gpu".
  questions: () =>
    Promise.resolve((input, context) => {
      let gpu = false
      const tokens = (): Promise<JobFunction<'tokens'>> =>
        Promise.resolve(({ base, file }, { signal }) => {
          gpu ||= base === 'gpu'
          return Promise.resolve(QUESTIONS[file]!(signal))
        })
      return answerQuestions({ tokens, plan: unused }, () => gpu)(input, context)
    }),
  download: () => Promise.resolve((_input, context) => Promise.resolve(SCRIPTS['cancel']!(context))),
  sample: () => Promise.resolve(async ({ prompt }, context) => SCRIPTS[prompt]!(context))
})
