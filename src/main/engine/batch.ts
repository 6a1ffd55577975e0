/** Packing: several sequences in one row of tokens, each with its own positions, blind to the others. */

export type TrainSequence = {
  readonly tokens: Int32Array
  /** 1 where the token is to be predicted and counts: never on the first token. */
  readonly mask: Uint8Array
}

export type PackedBatch = {
  readonly tokens: Int32Array // [T]
  readonly positions: Int32Array // [T], from 0 in each sequence
  /** Index in the row at which each token's sequence starts [T]. */
  readonly starts: Int32Array
  /** For each predicted token, in order: the row index *before* it, whose hidden state predicts it; the token; its sequence. */
  readonly at: Int32Array
  readonly targets: Int32Array
  readonly sequence: Int32Array
  /** Which of the given sequences lie in this row, in order; `sequence` above indexes this list's values. */
  readonly members: readonly number[]
}

/** Rows are padded to a multiple of this, so that graphs of one shape serve many batches. */
const PAD = 32

/**
 * Lays sequences into rows of at most `maxTokens`, first-fit by decreasing length; the order inside a row is that of the
 * input. Every sequence must be shorter than `maxTokens`. Token 0 pads.
 */
export function pack(sequences: readonly TrainSequence[], maxTokens: number): PackedBatch[] {
  const order = sequences
    .map((_, i) => i)
    .sort((a, b) => sequences[b]!.tokens.length - sequences[a]!.tokens.length || a - b)
  const rows: { used: number; members: number[] }[] = []
  for (const i of order) {
    const length = sequences[i]!.tokens.length
    if (length > maxTokens) throw new Error(`a sequence of ${length} tokens does not fit a row of ${maxTokens}`)
    const row = rows.find((candidate) => candidate.used + length <= maxTokens)
    if (row) {
      row.used += length
      row.members.push(i)
    } else rows.push({ used: length, members: [i] })
  }
  return rows.map((row) =>
    packRow(
      sequences,
      row.members.sort((a, b) => a - b)
    )
  )
}

function packRow(sequences: readonly TrainSequence[], members: readonly number[]): PackedBatch {
  const used = members.reduce((sum, i) => sum + sequences[i]!.tokens.length, 0)
  const size = Math.ceil(used / PAD) * PAD
  const tokens = new Int32Array(size)
  const positions = new Int32Array(size)
  const starts = new Int32Array(size)
  const at: number[] = []
  const targets: number[] = []
  const sequence: number[] = []
  let offset = 0
  for (const i of members) {
    const { tokens: own, mask } = sequences[i]!
    tokens.set(own, offset)
    for (let t = 0; t < own.length; t++) {
      positions[offset + t] = t
      starts[offset + t] = offset
      if (t > 0 && mask[t]) {
        at.push(offset + t - 1)
        targets.push(own[t]!)
        sequence.push(i)
      }
    }
    offset += own.length
  }
  for (let t = offset; t < size; t++) starts[t] = t // padding sees itself alone
  return {
    tokens,
    positions,
    starts,
    at: Int32Array.from(at),
    targets: Int32Array.from(targets),
    sequence: Int32Array.from(sequence),
    members
  }
}
