/**
 * From what was sampled to a thought and an answer. The tags are looked for among the token ids, so that a tag spelled out
 * in ordinary characters is not mistaken for one; bases without such tokens use the text form below.
 * Well-formed (paper-facts 1.3): one opening tag at the very start (whitespace may precede it), one later closing tag,
 * a thought between them and an answer after them.
 */
export type ThinkIds = {
  readonly open: number
  readonly close: number
  /** Any of these ends the turn; what follows the first of them is not looked at. */
  readonly endOfTurn: readonly number[]
}

export type ThinkTags = { readonly open: string; readonly close: string }
export const THINK_TAGS: ThinkTags = { open: '<think>', close: '</think>' }

export type Malformed =
  | 'no opening tag'
  | 'text before the thought'
  | 'two opening tags'
  | 'no closing tag'
  | 'two closing tags'
  | 'closing tag first'
  | 'empty thought'
  | 'empty answer'

export type ParsedTrace =
  | { readonly kind: 'well-formed'; readonly thinking: string; readonly answer: string }
  /** `answer` is what is left to grade: all text after the last closing tag, or the whole text where there is none. */
  | { readonly kind: 'malformed'; readonly why: Malformed; readonly answer: string }

export type ParseOptions = {
  /** The prompt already ended in the opening tag, so the response starts inside the thought. */
  readonly openedByPrompt?: boolean
}

/** Tag positions in any sequence, and how to read a stretch of it as text: what both forms below have in common. */
type Marked = {
  readonly opens: readonly { start: number; end: number }[]
  readonly closes: readonly { start: number; end: number }[]
  readonly length: number
  readonly text: (start: number, end: number) => string
}

function parseMarked({ opens, closes, length, text }: Marked, openedByPrompt: boolean): ParsedTrace {
  const [open, close] = [openedByPrompt ? { start: 0, end: 0 } : opens[0], closes[0]]
  const lastClose = closes.at(-1)
  const malformed = (why: Malformed): ParsedTrace => ({
    kind: 'malformed',
    why,
    answer: text(lastClose?.end ?? 0, length).trim()
  })
  if (!open) return malformed('no opening tag')
  if (opens.length > (openedByPrompt ? 0 : 1)) return malformed('two opening tags')
  if (close && close.start < open.end) return malformed('closing tag first')
  if (text(0, open.start).trim() !== '') return malformed('text before the thought')
  if (!close) return malformed('no closing tag')
  if (closes.length > 1) return malformed('two closing tags')
  const thinking = text(open.end, close.start).trim()
  if (thinking === '') return malformed('empty thought')
  const answer = text(close.end, length).trim()
  return answer === '' ? malformed('empty answer') : { kind: 'well-formed', thinking, answer }
}

/**
 * The trace in a rollout's token ids. `decode` turns ids into text and may render or drop special tokens: it is never
 * given a tag or an end-of-turn token that matters.
 */
export function parseTrace(
  tokens: ArrayLike<number>,
  ids: ThinkIds,
  decode: (tokens: readonly number[]) => string,
  options: ParseOptions = {}
): ParsedTrace {
  const all = Array.from(tokens)
  const end = all.findIndex((token) => ids.endOfTurn.includes(token))
  const response = end < 0 ? all : all.slice(0, end)
  const places = (id: number): { start: number; end: number }[] =>
    response.flatMap((token, i) => (token === id ? [{ start: i, end: i + 1 }] : []))
  return parseMarked(
    {
      opens: places(ids.open),
      closes: places(ids.close),
      length: response.length,
      text: (start, stop) => decode(response.slice(start, stop).filter((token) => token !== ids.open))
    },
    options.openedByPrompt ?? false
  )
}

/** The same over text, for bases whose tags are ordinary characters. The end-of-turn text must already be gone. */
export function parseTaggedText(
  response: string,
  tags: ThinkTags = THINK_TAGS,
  options: ParseOptions = {}
): ParsedTrace {
  const places = (tag: string): { start: number; end: number }[] => {
    const found: { start: number; end: number }[] = []
    for (let at = response.indexOf(tag); at >= 0; at = response.indexOf(tag, at + tag.length)) {
      found.push({ start: at, end: at + tag.length })
    }
    return found
  }
  return parseMarked(
    {
      opens: places(tags.open),
      closes: places(tags.close),
      length: response.length,
      text: (start, stop) => response.slice(start, stop)
    },
    options.openedByPrompt ?? false
  )
}
