import { expect, test } from 'vitest'
import { busyWarning, resumedThreads } from '../../../src/main/engine/threads.ts'

test.each<[string, number | undefined, number | undefined, number, number | undefined, number]>([
  ['a fresh run takes the default', undefined, undefined, 8, undefined, 0],
  ['the recipe decides', 3, undefined, 8, 3, 0],
  ['a run that goes on keeps its number, whatever the default is here', undefined, 2, 8, 2, 0],
  ['also where it is all there is', undefined, 8, 8, 8, 0],
  ['where there are fewer it goes on with a warning', undefined, 8, 2, 2, 1]
])('%s', (_, asked, earlier, available, expected, warnings) => {
  const said: string[] = []
  expect(resumedThreads(asked, earlier, (text) => said.push(text), available)).toBe(expected)
  expect(said).toHaveLength(warnings)
  if (warnings > 0) expect(said[0]).toMatch(/started with 8 threads, 2 processors/)
})

test('busy processors are named before threads wait for each other', () => {
  expect(busyWarning(2, 6.42, 2, 2)).toBe(
    'other programs keep the processors busy (load 6.4 on 2): 2 threads wait for each other at every operation and may take many times as long; close those programs, or set threads: 1'
  )
  expect(busyWarning(2, 2.9, 2, 2), 'a run of ours just before').toBeNull()
  expect(busyWarning(1, 9, 2, 2), 'one thread waits for none').toBeNull()
  expect(busyWarning(6, 20, 8, 8), 'some are left free').toBeNull()
  expect(busyWarning(8, 0, 8, 8), 'Windows has no load').toBeNull()
  expect(busyWarning(2, 10, 2, 64), 'a machine of which only some may be used').toBeNull()
})
