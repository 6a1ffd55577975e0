/** Packing: several sequences in one row of tokens, each with its own positions, blind to the others. */

export type TrainSequence = {
  readonly tokens: Int32Array
  /** 1 where the token is to be predicted and counts: never on the first token. */
  readonly mask: Uint8Array
  /**
   * The prompt this sequence begins with. Sequences given the very same array, as a group's rollouts are, share its
   * computation: a row holds it once, and gradients of all that follows meet in it.
   */
  readonly prompt?: Int32Array | undefined
}

export type PackedBatch = {
  readonly tokens: Int32Array // [T]
  readonly positions: Int32Array // [T], from 0 in each sequence
  /** Index in the row at which what the token sees of its own sequence starts [T]. */
  readonly starts: Int32Array
  /** The part of the row [prefixStarts, prefixEnds) that comes before that in its sequence; empty where nothing is shared [T]. */
  readonly prefixStarts: Int32Array
  readonly prefixEnds: Int32Array
  /** For each predicted token, in order: the row index *before* it, whose hidden state predicts it; the token; its sequence. */
  readonly at: Int32Array
  readonly targets: Int32Array
  readonly sequence: Int32Array
  /** Which of the given sequences lie in this row, in order; `sequence` above indexes this list's values. */
  readonly members: readonly number[]
}

/** Rows are padded to a multiple of this, so that graphs of one shape serve many batches. */
const PAD = 32

/** Tokens of the row that so many lie in. */
export const paddedRow = (tokens: number): number => Math.ceil(tokens / PAD) * PAD

/** What stays together in a row: tokens seen by all members (none for a sequence of its own), and the members' own. */
type Bundle = { readonly shared: number; readonly members: readonly number[]; readonly size: number }

/**
 * Lays sequences into rows of at most `maxTokens`, first-fit by decreasing length; the order inside a row is that of the
 * input. No sequence may be longer than `maxTokens`. Token 0 pads.
 */
export function pack(sequences: readonly TrainSequence[], maxTokens: number): PackedBatch[] {
  const bundles = bundlesOf(sequences, maxTokens).sort((a, b) => b.size - a.size || a.members[0]! - b.members[0]!)
  const rows: { used: number; bundles: Bundle[] }[] = []
  for (const bundle of bundles) {
    if (bundle.size > maxTokens)
      throw new Error(`a sequence of ${bundle.size} tokens does not fit a row of ${maxTokens}`)
    const row = rows.find((candidate) => candidate.used + bundle.size <= maxTokens)
    if (row) {
      row.used += bundle.size
      row.bundles.push(bundle)
    } else rows.push({ used: bundle.size, bundles: [bundle] })
  }
  return rows.map((row) =>
    packRow(
      sequences,
      row.bundles.sort((a, b) => a.members[0]! - b.members[0]!)
    )
  )
}

/**
 * Sequences of one prompt, as many as a row holds, in one bundle. The prompt's last token is not shared: it predicts each
 * member's first own token, so each member has it again.
 */
function bundlesOf(sequences: readonly TrainSequence[], maxTokens: number): Bundle[] {
  const groups = new Map<Int32Array | number, number[]>()
  sequences.forEach(({ prompt }, i) => {
    const key = prompt && prompt.length > 1 ? prompt : i
    groups.set(key, [...(groups.get(key) ?? []), i])
  })
  const length = (i: number): number => sequences[i]!.tokens.length
  return [...groups].flatMap(([prompt, members]): Bundle[] => {
    if (typeof prompt === 'number' || members.length === 1)
      return members.map((i) => ({ shared: 0, members: [i], size: length(i) }))
    const shared = prompt.length - 1
    const bundles: { shared: number; members: number[]; size: number }[] = []
    for (const i of members) {
      const own = length(i) - shared
      const open = bundles.at(-1)
      if (open && open.size + own <= maxTokens) {
        open.members.push(i)
        open.size += own
      } else bundles.push({ shared, members: [i], size: length(i) })
    }
    return bundles
  })
}

function packRow(sequences: readonly TrainSequence[], bundles: readonly Bundle[]): PackedBatch {
  const size = paddedRow(bundles.reduce((sum, bundle) => sum + bundle.size, 0))
  const row = {
    tokens: new Int32Array(size),
    positions: new Int32Array(size),
    starts: new Int32Array(size),
    prefixStarts: new Int32Array(size),
    prefixEnds: new Int32Array(size)
  }
  const predicted: { at: number; target: number; sequence: number }[] = []
  let offset = 0
  /** Lays `tokens`, of which the first is at `position` in its sequence, and returns where. */
  const lay = (tokens: Int32Array, position: number, prefixStart: number, prefixEnd: number): number => {
    const start = offset
    row.tokens.set(tokens, start)
    for (let t = 0; t < tokens.length; t++) row.positions[start + t] = position + t
    offset += tokens.length
    row.starts.fill(start, start, offset)
    row.prefixStarts.fill(prefixStart, start, offset)
    row.prefixEnds.fill(prefixEnd, start, offset)
    return start
  }
  for (const { shared, members } of bundles) {
    const prefixStart = shared > 0 ? lay(sequences[members[0]!]!.tokens.subarray(0, shared), 0, offset, offset) : offset
    const prefixEnd = offset
    for (const sequence of members) {
      const { tokens, mask } = sequences[sequence]!
      const start = lay(tokens.subarray(shared), shared, prefixStart, prefixEnd)
      for (let t = shared + 1; t < tokens.length; t++)
        if (mask[t]) predicted.push({ at: start + t - shared - 1, target: tokens[t]!, sequence })
    }
  }
  for (let t = offset; t < size; t++) row.starts[t] = row.prefixStarts[t] = row.prefixEnds[t] = t // padding sees itself alone
  return {
    ...row,
    at: Int32Array.from(predicted, ({ at }) => at),
    targets: Int32Array.from(predicted, ({ target }) => target),
    sequence: Int32Array.from(predicted, ({ sequence }) => sequence),
    members: bundles.flatMap(({ members }) => members)
  }
}
