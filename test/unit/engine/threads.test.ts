import { expect, test } from 'vitest'
import { resumedThreads } from '../../../src/main/engine/threads.ts'

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
