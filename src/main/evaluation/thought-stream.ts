/**
 * Takes sampled tokens one by one and tells thought from answer as they come: by think tokens, or by tags spelled out as
 * text. A character split over tokens is held back until it is whole, and so is what may yet become a tag. White space
 * around tags is not passed on.
 */
import type { ThinkIds, ThinkTags } from '../reasoning/trace.ts'

export type Part = 'thinking' | 'answer'

export type ThoughtStream = {
  token(token: number, piece: Uint8Array): void
  /** Passes on what was held back. */
  end(): void
}

/** How thoughts are marked: by these tokens, or, where there are none, by these tags in the text. */
export type Marks = { readonly thinkIds: Pick<ThinkIds, 'open' | 'close'> | null; readonly tags: ThinkTags }

/** `first` is where the text begins: inside the thought when the prompt already opened it. */
export function thoughtStream(
  { thinkIds: ids, tags }: Marks,
  emit: (part: Part, text: string) => void,
  first: Part = 'answer'
): ThoughtStream {
  const decoder = new TextDecoder()
  const switches: readonly (readonly [string, Part])[] = [
    [tags.open, 'thinking'],
    [tags.close, 'answer']
  ]
  let part = first
  let begun = false
  /** Tag-free text that may still be trailing white space. */
  let space = ''
  /** Text in which a tag may be under way. */
  let open = ''

  const pass = (text: string): void => {
    const whole = space + text
    const shown = begun ? whole.trimEnd() : whole.trim()
    space = shown === '' && !begun ? '' : whole.slice(whole.trimEnd().length)
    if (shown === '') return
    begun = true
    emit(part, shown)
  }
  const turn = (to: Part): void => {
    part = to
    begun = false
    space = ''
  }
  const passTagged = (text: string): void => {
    open += text
    for (;;) {
      const [at, tag, to] = switches
        .map(([name, next]) => [open.indexOf(name), name, next] as const)
        .filter(([index]) => index >= 0)
        .sort(([a], [b]) => a - b)[0] ?? [-1]
      if (at < 0 || tag === undefined || to === undefined) break
      pass(open.slice(0, at))
      open = open.slice(at + tag.length)
      turn(to)
    }
    const held = Math.max(...switches.map(([tag]) => overlap(open, tag)))
    pass(open.slice(0, open.length - held))
    open = open.slice(open.length - held)
  }
  return {
    token: (token, piece) => {
      if (ids !== null && (token === ids.open || token === ids.close)) {
        pass(decoder.decode())
        turn(token === ids.open ? 'thinking' : 'answer')
        return
      }
      const text = decoder.decode(piece, { stream: true })
      if (ids === null) passTagged(text)
      else pass(text)
    },
    end: () => {
      const rest = decoder.decode()
      pass(open + rest)
      open = ''
    }
  }
}

/** How much of the end of `text` is a beginning of `tag`. */
function overlap(text: string, tag: string): number {
  for (let size = Math.min(text.length, tag.length - 1); size > 0; size--)
    if (tag.startsWith(text.slice(-size))) return size
  return 0
}
