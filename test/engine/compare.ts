/** How far two arrays of numbers are apart. */
import { expect } from 'vitest'

type Numbers = ArrayLike<number>

/** The largest |a − b|; NaN where anything is not a number. */
export function largestDifference(a: Numbers, b: Numbers): number {
  expect(a.length).toBe(b.length)
  let most = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!)
    if (Number.isNaN(difference)) return NaN
    most = Math.max(most, difference)
  }
  return most
}

export function largest(a: Numbers): number {
  let most = 0
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]!))
  return most
}

/** The largest |ours − expected| over the largest |expected|. */
export const relativeDifference = (ours: Numbers, expected: Numbers): number =>
  largestDifference(ours, expected) / largest(expected)

export type Tolerance = { readonly atol: number; readonly rtol: number }

/** |ours − expected| ≤ atol + rtol · max|expected|, everywhere. */
export function expectClose(ours: Numbers, expected: Numbers, { atol, rtol }: Tolerance, name: string): void {
  expect(largestDifference(ours, expected), name).toBeLessThanOrEqual(atol + rtol * largest(expected))
}

export function meanDifference(a: Numbers, b: Numbers): number {
  expect(a.length).toBe(b.length)
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!)
  return sum / a.length
}
