/**
 * Text that only grows, in the page: a thought of 100,000 tokens is appended to text nodes, never rendered again. Stretches
 * out of sight cost no layout (`content-visibility`), so the page stays fast however long it gets.
 */

/** Characters of one stretch: some three screens. Small enough to lay out in a moment, few enough to not be many. */
export const STRETCH = 8000

/** Where a stretch that has `length` characters ends when `text` comes after it: how many characters of it still belong to it. */
export function roomFor(length: number, text: string): number {
  const room = STRETCH - length
  if (text.length <= room) return text.length
  // A line end near the seam, so that the seam is not seen in the middle of a line.
  const line = text.indexOf('\n', Math.max(0, room))
  if (line >= 0 && line < room + STRETCH) return line + 1
  return text.length <= room + STRETCH ? text.length : Math.max(room, 0)
}

export class GrowingText {
  #text: string[] = []
  #length = 0
  #nodes = new Set<(text: string) => void>()

  get length(): number {
    return this.#length
  }

  /** The whole of it, for saving and copying. */
  get whole(): string {
    if (this.#text.length > 1) this.#text = [this.#text.join('')]
    return this.#text[0] ?? ''
  }

  append(text: string): void {
    if (text === '') return
    this.#text.push(text)
    this.#length += text.length
    for (const write of this.#nodes) write(text)
  }

  /** Shows the text in an element and keeps it growing there: an attachment. */
  readonly show = (element: HTMLElement): (() => void) => {
    element.replaceChildren()
    const write = (text: string): void => appendTo(element, text)
    write(this.whole)
    this.#nodes.add(write)
    return () => this.#nodes.delete(write)
  }
}

function appendTo(element: HTMLElement, text: string): void {
  let last = element.lastElementChild?.firstChild as Text | null | undefined
  let rest = text
  while (rest !== '') {
    const taken = last ? roomFor(last.length, rest) : 0
    if (last && taken > 0) {
      last.appendData(rest.slice(0, taken))
      rest = rest.slice(taken)
      continue
    }
    const stretch = element.ownerDocument.createElement('div')
    stretch.className = 'stretch'
    last = element.ownerDocument.createTextNode('')
    stretch.append(last)
    element.append(stretch)
  }
}
