import { describe, expect, test } from 'vitest'
import { thoughtStream } from '../../../src/main/evaluation/thought-stream.ts'
import type { Part } from '../../../src/main/evaluation/thought-stream.ts'
import { THINK_TAGS } from '../../../src/main/reasoning/trace.ts'

const OPEN = 1
const CLOSE = 2
const IDS = { open: OPEN, close: CLOSE }

/** Feeds pieces; a number is a think token. Gives the parts, each joined, and the pieces that were passed on. */
function stream(pieces: readonly (string | Uint8Array | number)[], ids: typeof IDS | null, first?: Part) {
  const passed: [Part, string][] = []
  const it = thoughtStream({ thinkIds: ids, tags: THINK_TAGS }, (part, text) => passed.push([part, text]), first)
  for (const piece of pieces) {
    if (typeof piece === 'number') it.token(piece, Buffer.from(piece === OPEN ? '<think>' : '</think>'))
    else it.token(99, typeof piece === 'string' ? Buffer.from(piece) : piece)
  }
  it.end()
  const joined = (part: Part): string => passed.filter(([own]) => own === part).map(([, text]) => text).join('') // prettier-ignore
  return { thinking: joined('thinking'), answer: joined('answer'), passed }
}

describe('with think tokens', () => {
  test('they part thought and answer, and white space around them is dropped', () => {
    const { thinking, answer } = stream([OPEN, '\n I', ' see.', ' \n', CLOSE, '\n\n', 'It is ', '4', '.\n'], IDS)
    expect({ thinking, answer }).toEqual({ thinking: 'I see.', answer: 'It is 4.' })
  })

  test('a tag spelled out is text', () => {
    expect(stream(['a </think> b'], IDS)).toMatchObject({ thinking: '', answer: 'a </think> b' })
  })

  test('a character split over tokens comes out whole', () => {
    const bytes = Buffer.from('π≈3 🙂')
    const pieces = [...bytes].map((byte) => Uint8Array.of(byte))
    const { answer, passed } = stream(pieces, IDS)
    expect(answer).toBe('π≈3 🙂')
    expect(passed.every(([, text]) => !text.includes('\ufffd'))).toBe(true)
  })

  test('a character that never became whole is shown as such', () => {
    expect(stream([Uint8Array.of(0xf0, 0x9f), CLOSE, 'x'], IDS, 'thinking')).toMatchObject({
      thinking: '\ufffd',
      answer: 'x'
    })
    expect(stream(['a', Uint8Array.of(0xc3)], IDS).answer).toBe('a\ufffd')
  })
})

describe('with tags as text', () => {
  test.each([1, 2, 3, 5, 100])('tags are found across tokens of %i characters', (size) => {
    const text = '<think>\n2 < 3, <b>thinking</b>\n</think>\nIt is <2>.'
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g'))!
    expect(stream(pieces, null)).toMatchObject({ thinking: '2 < 3, <b>thinking</b>', answer: 'It is <2>.' })
  })

  test('text is passed on as soon as it cannot become a tag', () => {
    expect(stream(['1 <', ' 2 <thi', 'ng'], null).passed).toEqual([
      ['answer', '1'],
      ['answer', ' < 2'],
      ['answer', ' <thing']
    ])
  })

  test('a prompt that opened the thought, and an unfinished tag at the end', () => {
    expect(stream(['hm</think>', 'so </thi'], null, 'thinking')).toMatchObject({ thinking: 'hm', answer: 'so </thi' })
  })
})
