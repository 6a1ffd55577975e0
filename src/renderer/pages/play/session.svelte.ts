/** What is asked and with what: lives as long as the tab, so that a look at another page loses nothing. */
import { MODEL_FILE } from '../../../shared/trained-file.ts'
import { api } from '../../lib/api.ts'
import { Conversation } from './conversation.svelte.ts'
import type { Policy, Sampling } from './conversation.svelte.ts'

/** Files that every run names alike are told apart by their folder. */
const withFolder = (path: string): string => path.split(/[\\/]/).slice(-2).join('/')

/** One of the one to three policies that answer. `adapter` '' is the base alone. */
export type Seat = { base: string; adapter: string }

/** What is kept over a reload. Numbers are kept as typed. */
type Kept = {
  seats: Seat[]
  system: string
  temperature: string
  topK: string
  topP: string
  seed: string
  budget: string
}

const KEY = 'reasonsmith.play'
export const MOST_POLICIES = 3

const fileName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path

class PlaySession {
  seats = $state<Seat[]>([{ base: '', adapter: '' }])
  system = $state('')
  /** The report's advice (arXiv 2504.21318): 0.8, 50, 0.95. */
  temperature = $state('0.8')
  topK = $state('50')
  topP = $state('0.95')
  seed = $state('0')
  budget = $state('1024')
  prompt = $state('')
  conversation = $state.raw(new Conversation(api.play))

  constructor() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Kept | null
      if (kept !== null) Object.assign(this, kept)
    } catch {
      // What cannot be read is not kept.
    }
  }

  /** Names tell the policies apart: the adapter's, or the base's; a number where two are the same. */
  readonly policies = $derived.by((): Policy[] => {
    const names = this.seats.map(({ base, adapter }) =>
      adapter === ''
        ? (fileName(base) === MODEL_FILE ? withFolder(base) : fileName(base)).replace(/\.gguf$/i, '')
        : withFolder(adapter).replace(/\.gguf$/i, '')
    )
    return this.seats.map(({ base, adapter }, i) => ({
      name: names.indexOf(names[i]!) === i ? names[i]! : `${names[i]!} (${i + 1})`,
      base,
      adapter: adapter === '' ? null : adapter
    }))
  })

  readonly sampling = $derived.by((): Sampling => ({
    sampling: { temperature: Number(this.temperature), top_k: Math.round(Number(this.topK)), top_p: Number(this.topP) },
    seed: Math.round(Number(this.seed)) || 0,
    max_completion_length: Math.round(Number(this.budget))
  }))

  /** What stops a prompt from being asked, as a sentence; null when nothing does. */
  readonly problem = $derived.by((): string | null => {
    if (this.seats.some((seat) => seat.base === '')) return 'Choose a base for every policy.'
    if (!(Number(this.temperature) > 0 && Number(this.temperature) <= 5)) return 'Temperature lies above 0 and up to 5.'
    if (!(Number(this.topK) >= 0)) return 'Top k is 0 (off) or more.'
    if (!(Number(this.topP) >= 0 && Number(this.topP) <= 1)) return 'Top p lies between 0 and 1.'
    const budget = Number(this.budget)
    if (!(budget >= 1 && budget <= 131_072)) return 'The token budget lies between 1 and 131,072.'
    return null
  })

  keep(): void {
    const { seats, system, temperature, topK, topP, seed, budget } = this
    sessionStorage.setItem(KEY, JSON.stringify({ seats, system, temperature, topK, topP, seed, budget } satisfies Kept))
  }

  ask(): void {
    const prompt = this.prompt.trim()
    if (prompt === '' || this.problem !== null || this.conversation.busy) return
    const changed = this.conversation.exchanges
      .at(-1)
      ?.answers.some(
        ({ policy }, i) => policy.base !== this.policies[i]?.base || policy.adapter !== this.policies[i]?.adapter
      )
    // Other policies have not said what was said so far.
    if (changed === true || this.conversation.exchanges.at(-1)?.answers.length !== this.policies.length) this.renew()
    this.conversation.ask(prompt, this.policies, this.sampling, this.system)
    this.prompt = ''
  }

  renew(): void {
    if (this.conversation.exchanges.length === 0) return
    this.conversation.close()
    this.conversation = new Conversation(api.play)
  }
}

export const session = new PlaySession()
