/** The worker's side of a `questions` job: short jobs in turn, until the host says that it is over. */
import { AppError } from '../../shared/errors.ts'
import { JOB_INPUTS } from '../../shared/worker-contract.ts'
import type { Answered, JobFunction, Question, QuestionKind } from '../../shared/worker-contract.ts'
import { toErrorShape } from './error-shape.ts'

export type QuestionTable = { readonly [K in QuestionKind]: () => Promise<JobFunction<K>> }
type Asked = Extract<Question, { k: 'ask' }>

/** `holdsDevice` tells whether a GPU is open in this process: it stays open until the process ends. */
export function answerQuestions(
  table: QuestionTable,
  holdsDevice: () => boolean
): (input: unknown, context: Parameters<JobFunction<'questions'>>[1]) => Promise<null> {
  return async (_input, { hear, say, signal }) => {
    const stops = new Map<number, AbortController>()
    let turn: Promise<void> = Promise.resolve()
    const answer = async ({ id, kind, input }: Asked, stop: AbortController): Promise<void> => {
      let said: { result: unknown } | { error: Extract<Answered, { error: unknown }>['error'] }
      try {
        const checked = JOB_INPUTS[kind].safeParse(input)
        if (!checked.success)
          throw new AppError('internal', `a question for ${kind} had a bad input: ${checked.error.message}`)
        stop.signal.throwIfAborted()
        const work = (await table[kind]()) as (input: unknown, context: object) => Promise<unknown>
        said = {
          result: (await work(checked.data, { emit: () => undefined, signal: stop.signal, runDir: '' })) ?? null
        }
      } catch (error) {
        said = { error: toErrorShape(error) }
      }
      stops.delete(id)
      say?.({ id, holdsDevice: holdsDevice(), ...said } satisfies Answered)
    }
    hear?.((message) => {
      const asked = message as Question
      if (asked.k === 'stop') return stops.get(asked.id)?.abort()
      const stop = new AbortController()
      stops.set(asked.id, stop)
      turn = turn.then(() => answer(asked, stop))
    })
    await new Promise<void>((over) => {
      if (signal.aborted) over()
      else signal.addEventListener('abort', () => over(), { once: true })
    })
    for (const stop of stops.values()) stop.abort()
    return null
  }
}
