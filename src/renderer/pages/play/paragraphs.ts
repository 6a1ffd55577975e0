/** A thought as steps to talk through: its paragraphs, long ones cut between sentences. */

/** Characters that are read aloud in some half minute, and fit a slide in large type: a guess. */
const LONG = 520

export function paragraphs(thought: string): string[] {
  return thought
    .split(/\n\s*\n/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .flatMap((part) => (part.length <= LONG ? [part] : cut(part)))
}

/** At line ends where there are any, else after sentences; a sentence that is too long alone stays whole. */
function cut(part: string): string[] {
  const lines = part.split('\n')
  const pieces = lines.length > 1 ? lines.map((line) => `${line}\n`) : (part.match(/[^.!?]+[.!?]*\s*/g) ?? [part])
  const made: string[] = []
  for (const piece of pieces) {
    const last = made.at(-1)
    if (last !== undefined && last.length + piece.length <= LONG) made[made.length - 1] = last + piece
    else made.push(piece)
  }
  return made.map((one) => one.trim()).filter((one) => one !== '')
}
