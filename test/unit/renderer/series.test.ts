import { expect, test } from 'vitest'
import { curvesCsv, curvesSvg, ticks } from '../../../src/renderer/lib/chart-export.ts'
import { joined, smoothed, stretches, thinned } from '../../../src/renderer/lib/series.ts'

test('smoothing by nothing changes nothing; a constant stays one from its first point', () => {
  expect(smoothed([3, 1, 2], 0)).toEqual([3, 1, 2])
  for (const value of smoothed([5, 5, 5, 5], 0.9)) expect(value).toBeCloseTo(5, 12)
  // By hand: weights 0.5, corrected by 1 − 0.5^n.
  expect(smoothed([4, 8], 0.5)).toEqual([4, (0.5 * 2 + 4) / 0.75])
})

test('curves of different steps share one axis, with gaps where a curve has no point', () => {
  expect(
    joined([
      { step: [1, 3], value: [10, 30] },
      { step: [2, 3], value: [200, 300] }
    ])
  ).toEqual([
    [1, 2, 3],
    [10, null, 30],
    [null, 200, 300]
  ])
})

test('thinning keeps every peak of a long curve, in order, within its bound', () => {
  const value = Array.from({ length: 100_000 }, (_, i) => (i === 77_777 ? 50 : i === 12_345 ? -50 : Math.sin(i)))
  const { step, value: kept } = thinned({ step: value.map((_, i) => i), value }, 500)
  expect(step.length).toBeLessThanOrEqual(1000)
  expect(Math.max(...kept)).toBe(50)
  expect(Math.min(...kept)).toBe(-50)
  expect(step).toEqual([...step].sort((a, b) => a - b))
  expect(thinned({ step: [1], value: [2] }, 500)).toEqual({ step: [1], value: [2] })
})

const curves = [
  { label: 'a, "b"', colour: '#123456', step: [1, 2], value: [0.5, 0.25] },
  { label: 'x < y', colour: '#654321', step: [2], value: [1] }
]
test('CSV quotes what needs it and leaves gaps empty', () => {
  expect(curvesCsv(curves)).toBe('step,"a, ""b""",x < y\n1,0.5,\n2,0.25,1\n')
})

test('SVG is well-formed text with the colours and escaped labels; one point does not break it', () => {
  const svg = curvesSvg('Loss', 'nats', curves)
  expect(svg).toContain('x &lt; y')
  expect(svg).toContain('stroke="#123456"')
  expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  expect(curvesSvg('One', '', [{ label: 'p', colour: '#000', step: [3], value: [7] }])).not.toMatch(/NaN|Infinity/)
})

test.each<[number, number, number[]]>([
  [0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [0.03, 0.31, [0.1, 0.2, 0.3]],
  [5, 5, [5]]
])('round numbers from %d to %d', (low, high, expected) => expect(ticks(low, high)).toEqual(expected))

test('stages of a run are stretches of their own: neither joined nor smoothed into each other', () => {
  const curve = { step: [2, 4, 6, 8], value: [3, 2, 0.1, 0.2] }
  expect(stretches(curve, [4])).toEqual([
    { step: [2, 4], value: [3, 2] },
    { step: [6, 8], value: [0.1, 0.2] }
  ])
  expect(stretches(curve)).toEqual([curve])
  expect(stretches(curve, [5, 8]).map(({ step }) => step)).toEqual([[2, 4], [6, 8], []])
  const svg = curvesSvg('Loss', '', [{ ...curve, label: 'a', colour: '#000', breaks: [4] }])
  expect(svg.match(/<polyline/g)).toHaveLength(2)
})
