/** A paired test in words. `a` and `b` are policies on the same tasks. */
import { pText } from '../../lib/format.ts'
import type { PairedTest } from '../../../shared/contract/types.ts'

/** The host's own words are not among what words are made of here. */
type Numbers = Omit<PairedTest, 'verdict'>

const points = (share: number): string => {
  const value = Math.abs(100 * share).toFixed(1)
  return value === '0.0' ? value : `${share > 0 ? '+' : '−'}${value}`
}

/** What decides the words, as in reports: of few tasks the interval can leave zero out though the test does not. */
export const distinguishable = ({ p }: Pick<PairedTest, 'p'>): boolean => p < 0.05

/** `sft beats base by 12.5 points (95 % interval +8.1 to +16.9, p < 0.0001).` or that they are not distinguishable. */
export function testSentence(test: Numbers): string {
  const interval = `95 % interval ${points(test.low)} to ${points(test.high)} points, ${pText(test.p)}`
  if (!distinguishable(test)) {
    return `${test.b} and ${test.a} are not distinguishable here: ${points(test.difference)} points (${interval}).`
  }
  const [better, worse] = test.difference > 0 ? [test.b, test.a] : [test.a, test.b]
  return `${better} is better than ${worse} by ${Math.abs(100 * test.difference).toFixed(1)} points (${interval}).`
}
