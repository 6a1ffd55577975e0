import { expect, test } from 'vitest'
import {
  ago,
  bytes,
  count,
  duration,
  fixed,
  number,
  parameters,
  percent,
  signed
} from '../../../src/renderer/lib/format.ts'

const plain = (text: string): string => text.replaceAll('\u202f', ' ')

test.each<[number, string]>([
  [0, '0'],
  [1, '1'],
  [0.6153846, '0.6154'],
  [-0.6153846, '−0.6154'],
  [1234.567, '1235'],
  [12_345.6, '12,346'],
  [0.00002, '2e−5'],
  [2e-4, '0.0002'],
  [12_345_678, '1.23e7'],
  [Number.NaN, '–'],
  [Number.POSITIVE_INFINITY, '–']
])('number(%d) reads %s', (value, text) => expect(number(value)).toBe(text.replace('2e−5', '2.00e−5')))

test('a difference always has its sign', () => {
  expect([signed(0.5), signed(-0.5), signed(0)]).toEqual(['+0.5', '−0.5', '0'])
})

test('numbers under each other have the same decimals; zero has no sign', () => {
  expect([fixed(8 / 13, 4), fixed(-1, 4), fixed(0.5, 2, true), fixed(-0.00001, 4, true), fixed(Number.NaN, 4)]).toEqual(
    ['0.6154', '−1.0000', '+0.50', '0.0000', '–']
  )
})

test.each<[number, string]>([
  [0, '0 ms'],
  [850, '850 ms'],
  [1200, '1.2 s'],
  [59_400, '59 s'],
  [60_000, '1 min'],
  [200_000, '3 min 20 s'],
  [7_500_000, '2 h 5 min'],
  [3 * 86_400_000 + 4 * 3_600_000, '3 d 4 h'],
  [Number.NaN, '–']
])('duration(%d) reads %s', (ms, text) => expect(plain(duration(ms))).toBe(text))

test('sizes, shares, counts, parameters carry their unit', () => {
  expect(plain(bytes(0))).toBe('0 B')
  expect(plain(bytes(1536))).toBe('1.50 KiB')
  expect(plain(bytes(20 * 2 ** 30))).toBe('20.0 GiB')
  expect(plain(percent(0.1254))).toBe('12.5 %')
  expect(count(1_234_567)).toBe('1,234,567')
  expect(plain(parameters(1_400_000))).toBe('1.4 M')
  expect(plain(parameters(7.6e9))).toBe('7.6 B')
})

test('how long ago, up to a day; then a date', () => {
  const now = new Date(2026, 4, 20, 12, 0).getTime()
  expect(ago(now - 10_000, now)).toBe('just now')
  expect(plain(ago(now - 5 * 60_000, now))).toBe('5 min ago')
  expect(plain(ago(now - 3 * 3_600_000, now))).toBe('3 h ago')
  expect(ago(now - 400 * 86_400_000, now)).toMatch(/2025$/)
})
