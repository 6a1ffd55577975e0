/**
 * The playground's worker: holds a base and its adapters loaded and answers what it is asked, one answer after another,
 * each token told as it is sampled. It ends when it is cancelled.
 */
import { AppError } from '../../shared/errors.ts'
import type { JobFunction, PlayAsk, ToPlay } from '../../shared/worker-contract.ts'
import { loadAdapter } from '../engine/adapter.ts'
import type { Adapter } from '../engine/adapter.ts'
import { openDevice } from '../engine/open-device.ts'
import type { Backend } from '../engine/backend.ts'
import { Held } from '../engine/ffi/owned.ts'
import { loadModel } from '../engine/model.ts'
import type { Model } from '../engine/model.ts'
import { Sampler } from '../engine/sampler.ts'
import { dialogueOf } from '../policy/dialogue.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import { THINK_TAGS } from '../reasoning/trace.ts'
import { thoughtStream } from './thought-stream.ts'
import type { Part } from './thought-stream.ts'
import type { Emit, RunEvent } from '../../shared/event.ts'

type Loaded = {
  readonly base: string
  readonly held: Held
  readonly model: Model
  readonly adapters: Map<string, Adapter>
}
type Told = Extract<RunEvent, { kind: 'answering' }>

export const runPlay: JobFunction<'play'> = async ({ device, threads }, { emit, signal, hear }) => {
  const held = new Held()
  const waiting: PlayAsk[] = []
  const stops = new Map<string, AbortController>()
  let wake = (): void => undefined
  hear?.((message) => {
    const said = message as ToPlay
    if (said.k === 'ask') {
      waiting.push(said)
      stops.set(said.id, new AbortController())
    } else stops.get(said.id)?.abort()
    wake()
  })
  signal.addEventListener('abort', () => {
    for (const stop of stops.values()) stop.abort()
    wake()
  })
  let loaded: Loaded | null = null
  try {
    const backend = held.own(await openDevice({ device, threads, emit }))
    while (!signal.aborted) {
      const ask = waiting.shift()
      if (ask === undefined) {
        await new Promise<void>((resolve) => (wake = resolve))
        continue
      }
      try {
        if (loaded?.base !== ask.base) {
          emit(told(ask.id, 'loading', ''))
          loaded?.held.dispose()
          loaded = null
          loaded = await load(ask.base, backend)
        }
        await answer(ask, loaded, emit, stops.get(ask.id)!.signal)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        const problem = error.hint === undefined ? error.message : `${error.message}. ${error.hint}`
        const end = error.code === 'cancelled' ? { stop: 'cancelled', problem: null } : { stop: 'failed', problem }
        emit({ ...told(ask.id, 'answering', ''), end: { ...end, tokensPerSecond: null } })
      }
      stops.delete(ask.id)
    }
    return {}
  } finally {
    loaded?.held.dispose()
    held.dispose()
  }
}

const told = (id: string, state: Told['state'], text: string, tokens = 0): Told => ({
  kind: 'answering',
  id,
  state,
  text,
  tokens
})

async function load(base: string, backend: Backend): Promise<Loaded> {
  const held = new Held()
  try {
    return { base, held, model: held.own(await loadModel(base, backend, { packed: true })), adapters: new Map() }
  } catch (error) {
    held.dispose()
    throw error
  }
}

const STATES: Readonly<Record<Part, Told['state']>> = { thinking: 'thinking', answer: 'answering' }

async function answer(ask: PlayAsk, { model, held, adapters }: Loaded, emit: Emit, signal: AbortSignal): Promise<void> {
  let adapter = ask.adapter === null ? null : adapters.get(ask.adapter)
  if (adapter === undefined) {
    emit(told(ask.id, 'loading', ''))
    adapter = held.own(await loadAdapter(model, ask.adapter!))
    adapters.set(ask.adapter!, adapter)
  }
  const { vocabulary } = model
  const dialogue = dialogueOf(vocabulary)
  const { prompt, inThought } = promptOf(ask, dialogue)
  const room = model.config.contextLength - prompt.length
  if (room < 1) {
    throw new AppError(
      'usage',
      `the conversation has ${prompt.length} tokens, the context of the base is ${model.config.contextLength}`,
      'Begin a new one, or prepare the base for a longer context.'
    )
  }
  const maxTokens = Math.min(ask.maxTokens, room)
  const sampler = new Sampler(model, { width: 1, contextTokens: prompt.length + maxTokens })
  let tokens = 0
  let state: Told['state'] = inThought ? 'thinking' : 'answering'
  const stream = thoughtStream(
    dialogue,
    (part, text) => {
      state = STATES[part]
      emit(told(ask.id, state, text, tokens))
    },
    inThought ? 'thinking' : 'answer'
  )
  try {
    emit(told(ask.id, state, ''))
    let first = 0
    const { groups } = await sampler.generate([{ prompt, seeds: [String(ask.seed)] }], {
      sampling: ask.sampling,
      maxTokens,
      adapter,
      signal,
      onToken: (_request, _member, token) => {
        if (tokens++ === 0) first = performance.now()
        if (!vocabulary.isEndOfGeneration(token)) stream.token(token, vocabulary.piece(token))
      }
    })
    stream.end()
    const seconds = (performance.now() - first) / 1000
    const { stop } = groups[0]![0]!
    const tokensPerSecond = tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null
    emit({ ...told(ask.id, state, '', tokens), end: { stop, tokensPerSecond, problem: null } })
  } catch (error) {
    stream.end()
    if (error instanceof AppError && error.code === 'cancelled') {
      emit({ ...told(ask.id, state, '', tokens), end: { stop: 'cancelled', tokensPerSecond: null, problem: null } })
      return
    }
    throw error
  } finally {
    sampler.dispose()
  }
}

/** The tokens to continue, and whether they end inside a thought. A last turn of the assistant is an answer that was cut. */
function promptOf({ turns }: PlayAsk, dialogue: Dialogue): { prompt: Int32Array; inThought: boolean } {
  const { vocabulary } = dialogue
  const last = turns.at(-1)!
  const cut = last.role === 'assistant' ? last.content : ''
  const before = last.role === 'assistant' ? turns.slice(0, -1) : turns
  const start = vocabulary.hasChatTemplate
    ? dialogue.promptTokens(before)
    : Int32Array.from([
        ...(vocabulary.addBos ? [vocabulary.bos] : []),
        ...vocabulary.tokenize(before.map(({ content }) => content).join('\n\n'))
      ])
  const opened = vocabulary.decode(start.slice(-16)).trimEnd().endsWith(THINK_TAGS.open)
  if (cut === '') return { prompt: start, inThought: opened }
  const [open, close] = [cut.lastIndexOf(THINK_TAGS.open), cut.lastIndexOf(THINK_TAGS.close)]
  return {
    prompt: Int32Array.from([...start, ...vocabulary.tokenize(cut, { special: true })]),
    inThought: open > close || (opened && close < 0)
  }
}
