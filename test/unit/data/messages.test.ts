import { describe, expect, test } from 'vitest'
import { AppError } from '../../../src/shared/errors.ts'
import { badLineText, readMessages } from '../../../src/main/data/prepare/messages.ts'

const user = { role: 'user', content: 'q' }
const assistant = (content: string, more: object = {}): object => ({ role: 'assistant', content, ...more })
const row = (...messages: object[]): string => JSON.stringify({ messages })
const read = (...lines: string[]): ReturnType<typeof readMessages> => readMessages(lines.join('\n'), 't.jsonl')

describe('a sample', () => {
  test.each<[string, string]>([
    ['tags in content', row(user, assistant('<think>\nhm\n</think>\n\n42\n'))],
    ['reasoning_content', row(user, assistant('42', { reasoning_content: ' hm ' }))],
    ['reasoning_content that is null', row(user, assistant('<think>hm</think>42', { reasoning_content: null }))]
  ])('is read from %s', (_name, line) =>
    expect(read(line)).toEqual({
      file: 't.jsonl',
      samples: [{ messages: [user], thinking: 'hm', answer: '42', line: 1 }],
      bad: []
    })
  )

  test('keeps the system message and earlier turns, without their thoughts', () => {
    const system = { role: 'system', content: 's' }
    const line = row(system, user, assistant('<think>old</think> 1'), user, assistant('<think>new</think>2'))
    expect(read(line).samples[0]).toEqual({
      messages: [system, user, { role: 'assistant', content: '1' }, user],
      thinking: 'new',
      answer: '2',
      line: 1
    })
  })

  test('is counted by the lines of the file, blank ones included, whatever ends them', () => {
    const good = row(user, assistant('<think>a</think>b'))
    const text = `\uFEFF${good}\r\n\r\n{\r\n${good}`
    const { samples, bad } = readMessages(text, 't.jsonl')
    expect(samples.map((sample) => sample.line)).toEqual([1, 4])
    expect(bad.map((one) => one.line)).toEqual([3])
  })

  test('is read from an iterable of lines too', () =>
    expect(readMessages([row(user, assistant('<think>a</think>b'))], 'f').samples).toHaveLength(1))
})

describe('a bad line says why', () => {
  test.each<[string, string | RegExp]>([
    ['{"messages": [', /^not JSON: /],
    ['[1]', /the row: /],
    ['{"text": "a"}', /^messages: /],
    ['{"messages": []}', /^messages: /],
    [row({ role: 'tool', content: 'x' }), /^messages\[0\]\.role: .*"system"\|"user"\|"assistant"/],
    [row(user, { role: 'assistant' }), /^messages\[1\]\.content: /],
    [row(user), 'no assistant message'],
    [row(user, assistant('<think>a</think>b'), user), 'the last message is not the assistant’s'],
    [row(assistant('<think>a</think>b')), 'the assistant’s message does not follow a user’s'],
    [
      row(user, { role: 'system', content: 's' }, user, assistant('<think>a</think>b')),
      'a system message after the first message'
    ],
    [row(user, assistant('42')), '0 <think> and 0 </think> tags, exactly one of each is needed'],
    [row(user, assistant('<think>a')), '1 <think> and 0 </think> tags, exactly one of each is needed'],
    [row(user, assistant('a</think>b')), '0 <think> and 1 </think> tags, exactly one of each is needed'],
    [row(user, assistant('<think>a<think>b</think>c')), '2 <think> and 1 </think> tags, exactly one of each is needed'],
    [row(user, assistant('</think>a<think>b')), '</think> before <think>'],
    [row(user, assistant('so <think>a</think>b')), 'text before <think>'],
    [row(user, assistant('<think> \n</think>b')), 'empty thought'],
    [row(user, assistant('<think>a</think> ')), 'empty answer'],
    [row(user, assistant('b', { reasoning_content: ' ' })), 'empty thought'],
    [row(user, assistant('', { reasoning_content: 'a' })), 'empty answer'],
    [
      row(user, assistant('<think>a</think>b', { reasoning_content: 'c' })),
      'reasoning_content beside <think> tags in content: two thoughts'
    ],
    [row(user, assistant('b', { reasoning_content: 'a</think>' })), 'reasoning_content holds a <think> or </think> tag']
  ])('%s', (line, why) => {
    const { samples, bad } = read(line)
    expect(samples).toEqual([])
    expect(bad).toEqual([{ line: 1, why: typeof why === 'string' ? why : (expect.stringMatching(why) as string) }])
  })

  test('with the file’s name and line', () =>
    expect(badLineText('t.jsonl', { line: 7, why: 'empty answer' })).toBe('t.jsonl:7: empty answer'))
})

test.each(['', '\n \n'])('an empty file is refused: %j', (text) =>
  expect(() => readMessages(text, 't.jsonl')).toThrow(
    new AppError('data', 't.jsonl is empty', 'messages JSONL is needed: one conversation a line')
  )
)
