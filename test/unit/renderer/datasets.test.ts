import { expect, test } from 'vitest'
import { FORMATS, mappingProblem } from '../../../src/renderer/pages/datasets/formats.ts'
import { countOver, lengthBars, lengthSentence } from '../../../src/renderer/pages/datasets/length-histogram.ts'
import { originName } from '../../../src/renderer/pages/datasets/origin-name.ts'
import { rowText } from '../../../src/renderer/pages/datasets/row-text.ts'
import { base64Of, PIECE_BYTES, uploadFile } from '../../../src/renderer/pages/datasets/upload.ts'

/** Any bytes, quickly. */
function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31) % 251
  return bytes
}

test('a file larger than a piece arrives whole and in order', async () => {
  const source = bytesOf(2 * PIECE_BYTES + 17)
  const shares: number[] = []
  const pieces: { offset: number; bytes: Buffer; last: boolean }[] = []
  const path = await uploadFile(
    new File([source], 'rows.jsonl'),
    ({ offset, base64, last }) => {
      pieces.push({ offset, bytes: Buffer.from(base64, 'base64'), last })
      return Promise.resolve({ path: last ? '/there/rows.jsonl' : null })
    },
    (share) => shares.push(share)
  )
  expect(path).toBe('/there/rows.jsonl')
  expect(pieces.map(({ offset, last }) => [offset, last])).toEqual([
    [0, false],
    [PIECE_BYTES, false],
    [2 * PIECE_BYTES, true]
  ])
  expect(Buffer.concat(pieces.map((piece) => piece.bytes)).equals(source)).toBe(true)
  expect(shares.at(-1)).toBe(1)
})

test('an empty file is one last, empty piece', async () => {
  const sent: unknown[] = []
  await uploadFile(new File([], 'nothing.csv'), (piece) => {
    sent.push([piece.base64, piece.last])
    return Promise.resolve({ path: '/x' })
  })
  expect(sent).toEqual([['', true]])
})

test('a stopped upload sends no further piece', async () => {
  const stop = new AbortController()
  let sent = 0
  const going = uploadFile(
    new File([bytesOf(3 * PIECE_BYTES)], 'big.jsonl'),
    () => {
      sent++
      stop.abort(new Error('stopped by the person'))
      return Promise.resolve({ path: null })
    },
    () => {},
    stop.signal
  )
  await expect(going).rejects.toThrow('stopped by the person')
  expect(sent).toBe(1)
})

test('base64 of bytes that are no text', () => {
  const bytes = bytesOf(70_001)
  expect(base64Of(bytes)).toBe(Buffer.from(bytes).toString('base64'))
})

test('a mapping says which role is missing', () => {
  expect(mappingProblem('prompt_solution', { prompt: 'question' }, ['question', 'answer'])).toContain('(solution)')
  expect(mappingProblem('prompt_solution', { prompt: 'question', solution: 'gone' }, ['question'])).toContain('“gone”')
  expect(mappingProblem('alpaca', { instruction: 'i', output: 'o' }, ['i', 'o'])).toBeNull()
})

test('every format names at least one needed role', () => {
  for (const facts of Object.values(FORMATS)) expect(facts.roles.some((role) => role.required)).toBe(true)
})

const lengths = { edges: [0, 100, 200, 300], counts: [5, 10, 4], longest: 280, contextLength: 512, counted: 19 }

test('bars beyond the limit are marked, the share inside a bar is in proportion', () => {
  expect(lengthBars(lengths, 200).map((bar) => bar.over)).toEqual([false, false, true])
  expect(countOver(lengths, 150)).toBe(9)
  expect(countOver(lengths, 280)).toBe(0)
  expect(countOver(lengths, 0)).toBe(19)
})

test('the sentence says what happens to long samples', () => {
  expect(lengthSentence(lengths, 512)).toBe('All 19 counted samples fit into 512 tokens.')
  expect(lengthSentence(lengths, 150)).toBe(
    'About 9 of 19 counted samples (47.4 %) are longer than 150 tokens and would be left out.'
  )
})

test('rows are read as asked, thought and answer, whatever their form', () => {
  const tagged = { messages: [{ role: 'system', content: 's' }, { role: 'user', content: 'q' }, { role: 'assistant', content: '<think>\nt\n</think>\n7' }] } // prettier-ignore
  const apart = { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b' }, { role: 'user', content: 'q' }, { role: 'assistant', content: '7', reasoning_content: 't' }] } // prettier-ignore
  expect(rowText(tagged)).toEqual({ system: 's', prompt: 'q', thought: 't', answer: '7', earlier: 0 })
  expect(rowText(apart)).toEqual({ system: null, prompt: 'q', thought: 't', answer: '7', earlier: 2 })
  expect(rowText({ prompt: 'q', solution: 7 })).toEqual({ system: null, prompt: 'q', thought: null, answer: '7', earlier: 0 }) // prettier-ignore
  expect(rowText({ other: 1 }).prompt).toBe('{"other":1}')
})

test('an uploaded file keeps the name a person gave it', () => {
  expect(originName('2a8da6db-d2d1-442b-aaeb-c08820e10848-traces.jsonl')).toBe('traces.jsonl')
  expect(originName('/up/2a8da6db-d2d1-442b-aaeb-c08820e10848-a-b.csv')).toBe('/up/a-b.csv')
  expect(originName('gsm8k-train.jsonl')).toBe('gsm8k-train.jsonl')
})
