/** A row of a dataset as a person reads it. Pure. */

export type RowText = {
  readonly system: string | null
  readonly prompt: string
  /** Of a trace; null for a task. */
  readonly thought: string | null
  readonly answer: string
  /** Turns before the last prompt, counted. */
  readonly earlier: number
}

type Message = { readonly role?: unknown; readonly content?: unknown; readonly reasoning_content?: unknown }

const text = (value: unknown): string =>
  value === undefined || value === null ? '' : typeof value === 'string' ? value : JSON.stringify(value)

/** Reads rows of messages and of prompt and solution; anything else is shown as its JSON. */
export function rowText(body: Readonly<Record<string, unknown>>): RowText {
  if (Array.isArray(body['messages'])) return ofMessages(body['messages'] as Message[])
  const prompt = body['prompt'] ?? body['question']
  const answer = body['solution'] ?? body['completion'] ?? body['answer']
  if (prompt === undefined && answer === undefined) {
    return { system: null, prompt: JSON.stringify(body), thought: null, answer: '', earlier: 0 }
  }
  return { system: null, prompt: text(prompt), thought: null, answer: text(answer), earlier: 0 }
}

function ofMessages(messages: readonly Message[]): RowText {
  const system = messages.find((message) => message.role === 'system')
  const turns = messages.filter((message) => message.role !== 'system')
  const last = turns.at(-1)
  const { thought, answer } = splitThought(text(last?.content), last?.reasoning_content)
  return {
    system: system === undefined ? null : text(system.content),
    prompt: text(turns.at(-2)?.content),
    thought,
    answer,
    earlier: Math.max(0, turns.length - 2)
  }
}

function splitThought(content: string, apart: unknown): { thought: string | null; answer: string } {
  if (typeof apart === 'string' && apart.trim() !== '') return { thought: apart.trim(), answer: content.trim() }
  const match = /<think>([\s\S]*?)<\/think>([\s\S]*)/.exec(content)
  return match === null
    ? { thought: null, answer: content.trim() }
    : { thought: match[1]!.trim(), answer: match[2]!.trim() }
}
