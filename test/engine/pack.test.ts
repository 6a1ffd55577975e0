/** Packing: pure layout, and that a packed row computes what its members compute one by one, however it is cut. */
import { describe, expect, test } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import { loadAdapter } from '../../src/main/engine/adapter.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { PackedBatch, TrainSequence } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { HeadOutput } from '../../src/main/engine/head.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { Coefficients, TrainerSettings } from '../../src/main/engine/trainer.ts'
import { largest, largestDifference, relativeDifference } from './compare.ts'
import { golden, goldenPath } from './golden.ts'
import { owner } from './owner.ts'

const own = owner()
const VOCABULARY = 128

function sequence(length: number, prompt = 1): TrainSequence {
  const random = seeded('pack', length, prompt)
  return {
    tokens: Int32Array.from({ length }, () => random.integer(3, VOCABULARY - 1)),
    mask: Uint8Array.from({ length }, (_, t) => (t < prompt ? 0 : 1))
  }
}

describe('pack', () => {
  const sequences = [30, 7, 64, 12, 1, 33, 20].map((length) => sequence(length, length % 4))

  test('nothing is lost, nothing is cut, nothing appears twice', () => {
    const rows = pack(sequences, 64)
    expect(rows.flatMap(({ members }) => members).sort((a, b) => a - b)).toEqual(sequences.map((_, i) => i))
    for (const row of rows) {
      let offset = 0
      for (const i of row.members) {
        const { tokens } = sequences[i]!
        expect(row.tokens.subarray(offset, offset + tokens.length)).toEqual(tokens)
        expect([...row.positions.subarray(offset, offset + tokens.length)]).toEqual([...tokens.keys()])
        expect(new Set(row.starts.subarray(offset, offset + tokens.length))).toEqual(new Set([offset]))
        offset += tokens.length
      }
    }
  })

  test('every counted token is predicted once, from the token before it in its own sequence', () => {
    for (const row of pack(sequences, 64)) {
      const expected = row.members.flatMap((i) => {
        const { tokens, mask } = sequences[i]!
        return [...tokens].flatMap((token, t) => (t > 0 && mask[t] === 1 ? [{ token, t, i }] : []))
      })
      expect([...row.targets]).toEqual(expected.map(({ token }) => token))
      expect([...row.sequence]).toEqual(expected.map(({ i }) => i))
      expect([...row.at].map((at) => row.positions[at]! + 1)).toEqual(expected.map(({ t }) => t))
      row.at.forEach((at) => expect(row.starts[at + 1]).toBe(row.starts[at]!))
    }
  })

  test('rows are padded to a multiple of 32 with tokens that see themselves alone', () => {
    const [row] = pack([sequence(30), sequence(7)], 64)
    expect(row!.tokens).toHaveLength(64)
    expect([...row!.tokens.subarray(37)]).toEqual(Array(27).fill(0))
    expect([...row!.starts.subarray(37)]).toEqual(Array.from({ length: 27 }, (_, i) => 37 + i))
    expect(pack([sequence(32)], 32)[0]!.tokens).toHaveLength(32)
  })

  test('longest first, into the first row with room; the order within a row is that of the input', () => {
    expect(pack(sequences, 64).map(({ members }) => members)).toEqual([[2], [0, 4, 5], [1, 3, 6]])
  })

  test('a sequence longer than a row is an error, an empty list no row', () => {
    expect(() => pack([sequence(65)], 64)).toThrow('65 tokens does not fit a row of 64')
    expect(pack([], 64)).toEqual([])
  })
})

/** Rollouts of one prompt: the prompt's tokens, then each member's own. */
function group(prompt: number, completions: readonly number[]): TrainSequence[] {
  const shared = sequence(prompt).tokens
  return completions.map((length, i) => {
    const own = sequence(length, i + 2).tokens
    const tokens = Int32Array.from([...shared, ...own])
    return { tokens, mask: new Uint8Array(tokens.length).fill(1, prompt), prompt: shared }
  })
}

describe('pack of sequences that share a prompt', () => {
  test('lays the prompt once; its last token, which predicts, stays with each member', () => {
    const members = group(10, [5, 3])
    const [row] = pack(members, 64)
    const [a, b] = [[...members[0]!.tokens], [...members[1]!.tokens]]
    expect([...row!.tokens.subarray(0, 19)]).toEqual([...a.slice(0, 9), ...a.slice(9), ...b.slice(9)])
    expect([...row!.positions.subarray(0, 19)]).toEqual([...Array(15).keys(), 9, 10, 11, 12])
    expect([...row!.targets]).toEqual([...a.slice(10), ...b.slice(10)])
    expect([...row!.at]).toEqual([9, 10, 11, 12, 13, 15, 16, 17])
    expect([...row!.prefixEnds.subarray(0, 19)].map((end, i) => end - row!.prefixStarts[i]!)).toEqual([
      ...Array(9).fill(0),
      ...Array(10).fill(9)
    ])
  })

  test('a group that no row holds is shared out over rows, each with the prompt', () => {
    const rows = pack(group(20, [20, 20, 20, 20, 20]), 96)
    expect(rows.map(({ members }) => members)).toEqual([
      [0, 1, 2],
      [3, 4]
    ])
  })

  test('an equal prompt in another array is another prompt; a single member shares nothing', () => {
    const apart = [...group(10, [5]), ...group(10, [5])]
    expect(pack(apart, 64)[0]!.prefixEnds).toEqual(pack(apart, 64)[0]!.prefixStarts)
  })
})

/** What a pass gives, with the gradients by name. Coefficients differ by token, so that exchanged tokens would be seen. */
type Result = { logprobs: Float32Array; entropy: Float32Array; loss: number; gradients: Map<string, Float32Array> }

const slope = (token: number): number => -0.5 - (token % 7) / 7

async function setup(): Promise<(batches: readonly PackedBatch[], settings: Partial<TrainerSettings>) => Result> {
  const backend = own.backend()
  const model = own(await loadModel(goldenPath(golden.parts.sft.base), backend))
  const adapter = own(await loadAdapter(model, goldenPath(golden.parts.sft.adapter)))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  return (batches, settings) => {
    const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 16, ...settings }))
    parameters.zeroGradients()
    const outputs = batches.map((batch) => {
      const coefficients = ({ logprobs }: HeadOutput, from: number): Coefficients => ({
        logprob: Float32Array.from(logprobs, (_, i) => slope(batch.targets[from + i]!)),
        entropy: Float32Array.from(logprobs, (_, i) => 0.1 * slope(batch.targets[from + i]! + 3))
      })
      return trainer.accumulate(batch, coefficients)
    })
    const logprobs = Float32Array.from(outputs.flatMap((output) => [...output.logprobs]))
    return {
      logprobs,
      entropy: Float32Array.from(outputs.flatMap((output) => [...output.entropy])),
      loss: -logprobs.reduce((sum, it) => sum + it, 0) / logprobs.length,
      gradients: new Map(parameters.list.map(({ name, gradient }) => [name, readF32(backend, gradient)]))
    }
  }
}

/**
 * F32 sums in another order: log-probabilities (down to −10) within 2e-5, gradients within 2e-5 of each tensor's largest
 * element. Measured: 2e-6 and 1.5e-6; keep `all` and `none` agree to the last bit.
 */
function expectSame(ours: Result, expected: Result): void {
  expect(largestDifference(ours.logprobs, expected.logprobs)).toBeLessThan(2e-5)
  expect(largestDifference(ours.entropy, expected.entropy)).toBeLessThan(2e-5)
  expect(Math.abs(ours.loss - expected.loss)).toBeLessThan(1e-6)
  for (const [name, gradient] of expected.gradients) {
    expect(largest(gradient), name).toBeGreaterThan(0)
    expect(relativeDifference(ours.gradients.get(name)!, gradient), name).toBeLessThan(2e-5)
  }
}

describe('a packed row', () => {
  // 121 tokens: the third and fourth begin inside a grain of 64 keys, the last chunk of queries sees a part of the row only
  const members = [26, 9, 41, 2, 33, 10].map((length) => sequence(length))
  const packed = pack(members, 128)
  const single = members.flatMap((member) => pack([member], 64))

  test('has the loss, log-probabilities and gradients of its members one by one', async () => {
    const run = await setup()
    expect(packed).toHaveLength(1)
    expectSame(run(packed, {}), run(single, {}))
  })

  test.each([
    { keep: 'none', chunkQueries: 64, headRows: 16 },
    { keep: 'all', chunkQueries: 128, headRows: 16 },
    { keep: 'all', chunkQueries: 7, headRows: 16 },
    { keep: 'none', chunkQueries: 33, headRows: 200 },
    { keep: 'none', chunkQueries: 1, headRows: 16 },
    { keep: 'all', chunkQueries: 64, headRows: 1 }
  ] as const)('gives the same with %o', async (settings) => {
    const run = await setup()
    expectSame(run(packed, settings), run(packed, { keep: 'all', chunkQueries: 64, headRows: 16 }))
  })

  describe('of rollouts that share a prompt', () => {
    // 90 + 14 + 40 tokens in the first group: later chunks of queries meet the prompt as a span apart from their own keys
    const shared = [...group(91, [13, 40, 21, 44]), sequence(17), ...group(30, [9, 25]), ...group(150, [3, 60, 33])]
    const alone = shared.flatMap((member) => pack([{ ...member, prompt: undefined }], 256))

    test.each([
      { keep: 'all', chunkQueries: 64, headRows: 16 },
      { keep: 'none', chunkQueries: 32, headRows: 16 },
      { keep: 'all', chunkQueries: 7, headRows: 200 },
      { keep: 'none', chunkQueries: 512, headRows: 16 }
    ] as const)('computes what they compute one by one, with %o', async (settings) => {
      const run = await setup()
      const together = pack(shared, 640)
      expect(together).toHaveLength(1)
      expect(together[0]!.tokens.length).toBeLessThan(alone.reduce((sum, { tokens }) => sum + tokens.length, 0) / 1.7)
      expectSame(run(together, settings), run(alone, { chunkQueries: 64 }))
    })
  })

  test('gives the same to a trainer that has seen rows of other widths before', async () => {
    const run = await setup()
    const rows = [...single, ...packed, ...single, ...packed, single[1]!, single[2]!, single[1]!, single[2]!]
    const fresh = rows.map((row) => run([row], {}))
    const added = run(rows, {})
    const expected: Result = {
      logprobs: Float32Array.from(fresh.flatMap((it) => [...it.logprobs])),
      entropy: Float32Array.from(fresh.flatMap((it) => [...it.entropy])),
      loss: added.loss,
      gradients: new Map(
        [...added.gradients].map(([name, { length }]) => [
          name,
          Float32Array.from({ length }, (_, i) => fresh.reduce((sum, it) => sum + it.gradients.get(name)![i]!, 0))
        ])
      )
    }
    expectSame(added, expected)
  })
})
