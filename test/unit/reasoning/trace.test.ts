import { describe, expect, it } from 'vitest'
import { parseTaggedText, parseTrace } from '../../../src/main/reasoning/trace.ts'

const [OPEN, CLOSE, END, OTHER_END, SPACE] = [1001, 1002, 1003, 1004, 32]
const ids = { open: OPEN, close: CLOSE, endOfTurn: [END, OTHER_END] }
/** Codes under 1000 are characters; special tokens decode to their spelling, as llama.cpp can be told to do. */
const decode = (tokens: readonly number[]): string =>
  tokens
    .map((token) =>
      token === OPEN ? '<think>' : token === CLOSE ? '</think>' : token > 1000 ? '<end>' : String.fromCharCode(token)
    )
    .join('')
const say = (text: string): number[] => [...text].map((char) => char.charCodeAt(0))

describe('parseTrace over token ids', () => {
  it.each([
    ['the usual form', [OPEN, ...say('a+b'), CLOSE, ...say(' 7'), END], 'a+b', '7'],
    ['whitespace before', [SPACE, 10, OPEN, ...say('a'), CLOSE, ...say('7'), END], 'a', '7'],
    ['cut off in the answer', [OPEN, ...say('a'), CLOSE, ...say('7')], 'a', '7'],
    ['another end token', [OPEN, ...say('a'), CLOSE, ...say('7'), OTHER_END, ...say('junk'), CLOSE], 'a', '7'],
    [
      'tags spelled out in characters are text',
      [OPEN, ...say('say </think> now'), CLOSE, ...say('<think>')],
      'say </think> now',
      '<think>'
    ]
  ])('well-formed: %s', (_what, tokens, thinking, answer) => {
    expect(parseTrace(tokens, ids, decode)).toEqual({ kind: 'well-formed', thinking, answer })
  })

  it.each([
    ['no opening tag', say('only text'), 'only text'],
    ['no opening tag', [...say('a'), CLOSE, ...say('7')], '7'],
    ['text before the thought', [...say('x'), OPEN, ...say('a'), CLOSE, ...say('7')], '7'],
    ['two opening tags', [OPEN, ...say('a'), OPEN, CLOSE, ...say('7')], '7'],
    ['two opening tags', [OPEN, ...say('a'), CLOSE, ...say('7'), OPEN], '7'],
    ['no closing tag', [OPEN, ...say('a 7')], 'a 7'],
    ['no closing tag', [OPEN, ...say('a'), END, CLOSE, ...say('7')], 'a'],
    ['two closing tags', [OPEN, ...say('a'), CLOSE, ...say('b'), CLOSE, ...say('7')], '7'],
    ['closing tag first', [CLOSE, OPEN, ...say('a 7')], 'a 7'],
    ['empty thought', [OPEN, SPACE, CLOSE, ...say('7')], '7'],
    ['empty answer', [OPEN, ...say('a'), CLOSE, SPACE, END], ''],
    ['no opening tag', [], ''],
    ['no opening tag', [END], '']
  ] as const)('malformed: %s', (why, tokens, answer) => {
    expect(parseTrace(tokens, ids, decode)).toEqual({ kind: 'malformed', why, answer })
  })

  it('starts inside the thought when the prompt opened it', () => {
    const options = { openedByPrompt: true }
    expect(parseTrace(Int32Array.from([...say('a'), CLOSE, ...say('7')]), ids, decode, options)).toEqual({
      kind: 'well-formed',
      thinking: 'a',
      answer: '7'
    })
    expect(parseTrace([OPEN, ...say('a'), CLOSE, ...say('7')], ids, decode, options)).toMatchObject({
      why: 'two opening tags'
    })
    expect(parseTrace(say('a'), ids, decode, options)).toMatchObject({ why: 'no closing tag' })
    expect(parseTrace([CLOSE, ...say('7')], ids, decode, options)).toMatchObject({ why: 'empty thought' })
  })
})

describe('parseTaggedText', () => {
  it.each([
    ['<think>a</think>7', 'a', '7'],
    ['\n <think>\na\n</think>\n\n7\n', 'a', '7'],
    ['<think>a < b</think>7 </thinker>', 'a < b', '7 </thinker>']
  ])('well-formed: %j', (text, thinking, answer) => {
    expect(parseTaggedText(text)).toEqual({ kind: 'well-formed', thinking, answer })
  })
  it.each([
    ['7', 'no opening tag'],
    ['<think>a', 'no closing tag'],
    ['<think>a</think>', 'empty answer'],
    ['<think></think>7', 'empty thought'],
    ['<think>a<think>b</think>7', 'two opening tags'],
    ['<think>a</think>b</think>7', 'two closing tags'],
    ['x<think>a</think>7', 'text before the thought'],
    ['</think><think>7', 'closing tag first'],
    ['<THINK>a</THINK>7', 'no opening tag'],
    ['', 'no opening tag']
  ] as const)('malformed: %j is %s', (text, why) => {
    expect(parseTaggedText(text)).toMatchObject({ kind: 'malformed', why })
  })
  it('takes other tags, and a prompt that opened the thought', () => {
    const tags = { open: '[THINK]', close: '[/THINK]' }
    expect(parseTaggedText('[THINK]a[/THINK]7', tags)).toEqual({ kind: 'well-formed', thinking: 'a', answer: '7' })
    expect(parseTaggedText('a</think>7', undefined, { openedByPrompt: true })).toMatchObject({ kind: 'well-formed' })
  })
  it('stays fast on many tags', () => {
    const started = performance.now()
    expect(parseTaggedText('<think>'.repeat(200000))).toMatchObject({ why: 'two opening tags' })
    expect(performance.now() - started).toBeLessThan(2000)
  })
})
