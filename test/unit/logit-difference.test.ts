/** The numbers of a comparison of logits, against hand-made ones. */
import { expect, test } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import { carriedShare, isDifferent, logitDifference } from '../../src/main/engine/logit-difference.ts'

const rows = (...values: number[][]): Float32Array[] => values.map((row) => Float32Array.from(row))

test('KL, differences and greedy tokens by the definition', () => {
  const [p, q] = [
    [Math.log(0.5), Math.log(0.25), Math.log(0.25)],
    [Math.log(0.25), Math.log(0.5), Math.log(0.25)]
  ]
  const found = logitDifference([rows(p!, p!), rows(p!)], [rows(p!, q!), rows(p!)])
  const kl = 0.5 * Math.log(2) - 0.25 * Math.log(2)
  expect(found.meanKl).toBeCloseTo(kl / 3, 6)
  expect(found.largestKl).toBeCloseTo(kl, 6)
  expect(found.largest).toBeCloseTo(Math.log(2), 6)
  expect(found).toMatchObject({ tokens: 3, sameTokens: 2, sameFirst: [1, 1] })
})

test('what is not finite is infinitely far away', () => {
  const { largest, meanKl } = logitDifference([rows([1, 2])], [rows([NaN, 2])])
  expect({ largest, meanKl }).toEqual({ largest: Infinity, meanKl: Infinity })
  expect(isDifferent([rows([1, 2])], [rows([NaN, NaN])], 10)).toBe(false) // the first of none; the KL tells
})

test('another greedy token counts unless the two were tied', () => {
  expect(isDifferent([rows([2, 1.9])], [rows([1.9, 2])], 0.2)).toBe(false)
  expect(isDifferent([rows([2, 1.9])], [rows([1.9, 2])], 0.05)).toBe(true)
})

test('the share of what was learned, whatever is added to a whole row', () => {
  const [base, ours] = [[rows([0, 1, 2])], [rows([1, 1, 1])]]
  const on = (share: number) => [rows([0 + share + 7, 1 + 7, 2 - share + 7])]
  for (const share of [0, 0.5, 1, 2]) expect(carriedShare(ours, base, on(share))).toBeCloseTo(share, 6)
  expect(carriedShare(base, base, ours)).toBeNull()
})

test('noise of the kernel that both come from draws the share to a half, from one and from nothing alike', () => {
  const random = seeded(1)
  const n = 20_000
  const draw = (): number[] => Array.from({ length: n }, () => random.normal())
  const [clean, learned, ofBase, ofOurs] = [draw(), draw(), draw(), draw()]
  const sum = (...parts: number[][]): Float32Array[] => [
    Float32Array.from({ length: n }, (_, i) => parts.reduce((total, part) => total + part[i]!, 0))
  ]
  const [base, ours] = [[sum(clean, ofBase)], [sum(clean, learned, ofOurs)]] // |ours − base|² is 3, the noise 2 of it
  expect(carriedShare(ours, base, [sum(clean, learned)])).toBeCloseTo(1 - 2 / 3 / 2, 1)
  expect(carriedShare(ours, base, [sum(clean)])).toBeCloseTo(2 / 3 / 2, 1)
})
