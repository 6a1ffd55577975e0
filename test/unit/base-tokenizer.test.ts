/** The bundled base's tokenizer: what its trainer makes, and what the corpus promises. */
import { describe, expect, it } from 'vitest'
import { generateTasks } from '../../src/main/reasoning/tasks/index.ts'
import { seeded } from '../../src/shared/random.ts'
import { drawTask, isReserved, makeDocument } from '../../resources/base/corpus.ts'
import { BYTE_ALPHABET, CONTROL_TOKENS, trainTokenizer } from '../../resources/base/tokenizer.ts'

describe('trainTokenizer', () => {
  const texts = ['one box = 3 boxes', 'one box = 41+2', 'a fox']
  const { tokens, types, merges } = trainTokenizer(texts, 300, 2)

  it('puts the control tokens first, then the 256 bytes, then one token per merge', () => {
    expect(tokens.slice(0, CONTROL_TOKENS.length)).toEqual(CONTROL_TOKENS)
    expect(tokens.slice(CONTROL_TOKENS.length, CONTROL_TOKENS.length + 256)).toEqual(BYTE_ALPHABET)
    expect(tokens).toHaveLength(CONTROL_TOKENS.length + 256 + merges.length)
    expect(types.filter((type) => type === 3)).toHaveLength(CONTROL_TOKENS.length)
    expect(new Set(tokens).size).toBe(tokens.length)
  })

  it('merges the most frequent pair first, and keeps the space before a word', () => {
    expect(merges[0]).toBe('o x')
    expect(tokens).toContain('Ġbox')
    expect(tokens).toContain('Ġ=')
  })

  it('never merges digits or signs', () => {
    expect(tokens.slice(CONTROL_TOKENS.length + 256).filter((token) => /\d|\+/.test(token))).toEqual([])
  })

  it('stops at the size asked for, and where a pair is too rare', () => {
    expect(trainTokenizer(texts, CONTROL_TOKENS.length + 256 + 2, 1).merges).toHaveLength(2)
    expect(trainTokenizer(texts, 1000, 99).merges).toEqual([])
  })
})

describe('the corpus', () => {
  it('is the same for the same seed', () => {
    const make = (seed: number): string[] => {
      const random = seeded(seed)
      return Array.from({ length: 20 }, () => makeDocument(random))
    }
    expect(make(1)).toEqual(make(1))
    expect(make(1)).not.toEqual(make(2))
  })

  it('pairs its marks', () => {
    const random = seeded('marks')
    for (let i = 0; i < 500; i++) expect(makeDocument(random)).toMatch(/^([^«»]*«[^«»]+»)+$/)
  })

  it('draws no reserved task', () => {
    const random = seeded('reserved')
    for (let i = 0; i < 500; i++) expect(isReserved(drawTask(random, [2, 3]))).toBe(false)
    const tasks = generateTasks({ family: 'arithmetic', difficulty: 4, count: 800, seed: 1 })
    expect(tasks.filter(isReserved).length).toBeGreaterThan(50)
  })
})
