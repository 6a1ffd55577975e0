/** A conversation with one to three policies: every prompt goes to each, their answers stand side by side. */
import type { Api, Answer as AnswerOf } from '../../lib/api.ts'
import { problemOf } from '../../lib/problem.ts'
import type { AnswerChunk } from '../../../shared/contract/types.ts'
import { GrowingText } from './growing-text.ts'

type Play = Pick<Api['play'], 'ask' | 'follow' | 'stop'>
export type Ask = Parameters<Play['ask']>[0]
export type Policy = Ask['policy']
export type Sampling = Pick<Ask, 'sampling' | 'max_completion_length' | 'seed'>
type Turn = Ask['turns'][number]

const RUNNING: ReadonlySet<AnswerChunk['state']> = new Set(['waiting', 'loading', 'thinking', 'answering'])
/** Between two tries to go on following after the connection was lost, ms. */
const AGAIN = 1000

/** One policy's answer, as it comes. The thought grows outside of the reactive state: it may be very long. */
export class Answer {
  readonly policy: Policy
  readonly thought = new GrowingText()
  text = $state('')
  state = $state<AnswerChunk['state']>('waiting')
  tokens = $state(0)
  tokensPerSecond = $state<number | null>(null)
  stop = $state<string | null>(null)
  problem = $state<string | null>(null)
  /** Characters of the thought: the reactive shadow of it. */
  thoughtLength = $state(0)
  readonly running = $derived(RUNNING.has(this.state))
  /** It ended before the model was done, so it can go on. */
  readonly cut = $derived(
    !this.running && this.state !== 'failed' && (this.stop === 'length' || this.state === 'stopped')
  )
  #id: string | null = null
  #tokensBefore = 0

  constructor(policy: Policy) {
    this.policy = policy
  }

  /** What was said so far, as the model wrote it: to go on with a cut answer. */
  get partial(): string {
    const thought = this.thought.whole
    if (this.text === '') return thought === '' ? '' : `<think>\n${thought}`
    return thought === '' ? this.text : `<think>\n${thought}\n</think>\n${this.text}`
  }

  /** Asks and follows until it ends. Never rejects: what goes wrong is in `problem`. */
  async follow(play: Play, ask: Ask, signal: AbortSignal): Promise<void> {
    this.state = 'waiting'
    this.stop = null
    this.problem = null
    this.#tokensBefore = this.tokens
    try {
      const { id } = await play.ask(ask)
      this.#id = id
      await this.#take(play, id, signal)
    } catch (error) {
      if (signal.aborted) return
      const { message, hint } = problemOf(error)
      this.state = 'failed'
      this.problem = [message, hint].filter(Boolean).join(' ')
    }
  }

  /** Stops the host's work on it; what came so far stays. */
  async end(play: Play): Promise<void> {
    if (this.#id !== null && this.running) await play.stop({ id: this.#id })
  }

  async #take(play: Play, id: string, signal: AbortSignal): Promise<void> {
    for (let after = 0; !signal.aborted;) {
      let chunk: AnswerOf<Play['follow']>
      try {
        chunk = await play.follow({ id, after })
      } catch (error) {
        if (problemOf(error).lost !== true) throw error
        await new Promise((resolve) => setTimeout(resolve, AGAIN))
        continue
      }
      if (signal.aborted) return
      after = chunk.cursor
      this.#put(chunk)
      if (!RUNNING.has(chunk.state)) return
    }
  }

  #put(chunk: AnswerChunk): void {
    this.thought.append(chunk.thinking)
    this.thoughtLength = this.thought.length
    if (chunk.answer !== '') this.text += chunk.answer
    this.tokens = this.#tokensBefore + chunk.tokens
    this.tokensPerSecond = chunk.tokensPerSecond
    this.stop = chunk.stop
    this.problem = chunk.problem
    this.state = chunk.state
  }
}

export type Exchange = { readonly prompt: string; readonly answers: readonly Answer[] }

export class Conversation {
  exchanges = $state.raw<readonly Exchange[]>([])
  readonly busy = $derived(this.exchanges.some((exchange) => exchange.answers.some((answer) => answer.running)))
  #play: Play
  #end = new AbortController()

  constructor(play: Play) {
    this.#play = play
  }

  /** Puts a prompt to every policy. Earlier exchanges of the same policies are what came before. */
  ask(prompt: string, policies: readonly Policy[], sampling: Sampling, system: string): void {
    const answers = policies.map((policy) => new Answer(policy))
    const before = answers.map((_, lane) => this.#turnsOf(lane, system))
    this.exchanges = [...this.exchanges, { prompt, answers }]
    for (const [lane, answer] of answers.entries()) {
      const turns = [...before[lane]!, { role: 'user' as const, content: prompt }]
      void answer.follow(this.#play, { policy: answer.policy, turns, ...sampling }, this.#end.signal)
    }
  }

  /** Goes on with the cut answers of the last exchange; `which`: only this one. */
  goOn(sampling: Sampling, system: string, which?: Answer): void {
    const last = this.exchanges.at(-1)
    if (last === undefined) return
    for (const [lane, answer] of last.answers.entries()) {
      if (!answer.cut || (which !== undefined && which !== answer)) continue
      const turns: Turn[] = [
        ...this.#turnsOf(lane, system, this.exchanges.length - 1),
        { role: 'user', content: last.prompt },
        { role: 'assistant', content: answer.partial }
      ]
      void answer.follow(this.#play, { policy: answer.policy, turns, ...sampling }, this.#end.signal)
    }
  }

  async stop(): Promise<void> {
    const running = this.exchanges.flatMap((exchange) => exchange.answers).filter((answer) => answer.running)
    await Promise.all(running.map((answer) => answer.end(this.#play)))
  }

  /** Nobody looks any more: what still runs is stopped, so that the machine is free. */
  close(): void {
    void this.stop().catch(() => undefined)
    this.#end.abort()
  }

  /** Earlier answers go without their thoughts, as at training. */
  #turnsOf(lane: number, system: string, until: number = this.exchanges.length): Turn[] {
    const head: Turn[] = system.trim() === '' ? [] : [{ role: 'system', content: system }]
    const said = this.exchanges.slice(0, until).flatMap(({ prompt, answers }): Turn[] => [
      { role: 'user', content: prompt },
      { role: 'assistant', content: answers[lane]?.text ?? '' }
    ])
    return [...head, ...said]
  }
}
