/** How a base is spoken to: chat templates that end the prompt inside the thought, and templates that fail. */
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { dialogueOf } from '../../src/main/policy/dialogue.ts'
import type { Dialogue } from '../../src/main/policy/dialogue.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const SHAPE = { ...TINY, layers: 1, width: 32, feedForward: 32 }
const turns = (content: string): string =>
  `{% for m in messages %}[{{ m['role'] }}] {% if m['role'] == 'assistant' %}${content}{% else %}{{ m['content'] }}{% endif %}<|endoftext|>{% endfor %}`
const TEMPLATES = {
  plain: CHAT_TEMPLATE,
  /** As models that always think: the whole message stands where the prompt already opened the thought. */
  opened: `${turns("{{ m['content'] }}")}{% if add_generation_prompt %}[assistant] <think>\n{% endif %}`,
  /** The same, and thoughts of messages that are there already are left out. */
  forgetful: `${turns("{{ m['content'].split('</think>')[-1] }}")}{% if add_generation_prompt %}[assistant] <think>{% endif %}`
} as const

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  for (const [name, value] of Object.entries(TEMPLATES))
    writeTinyModel(backend, join(folder, `${name}.gguf`), SHAPE, 1, {
      'tokenizer.chat_template': { kind: 'text', value }
    })
  backend.dispose()
})

const dialogue = async (name: keyof typeof TEMPLATES): Promise<Dialogue> =>
  dialogueOf(own(await loadModel(join(folder, `${name}.gguf`), own.backend())).vocabulary)
const asked = [{ role: 'user', content: 'What is 1+1?' }] as const

describe.each(['plain', 'opened', 'forgetful'] as const)('a template that is %s', (name) => {
  test('teaches what it reads back: thought and answer of a trace survive', async () => {
    const { responseTokens, parse } = await dialogue(name)
    const response = responseTokens(asked, 'one and one', 'It is 2.')
    expect(parse(response)).toEqual({ kind: 'well-formed', thinking: 'one and one', answer: 'It is 2.' })
  })

  test('teaches what it samples: prompt and response together hold each tag once', async () => {
    const { promptTokens, responseTokens, vocabulary } = await dialogue(name)
    const whole = vocabulary.decode([...promptTokens(asked), ...responseTokens(asked, 'one and one', 'It is 2.')])
    expect(whole).toMatch(/^\[user\] What is 1\+1\?<\|endoftext\|>\[assistant\] <think>\s*one and one\s*<\/think>\s*It is 2\.<\|endoftext\|>$/) // prettier-ignore
  })
})

test('a rollout after a prompt that opened the thought is well-formed without a tag of its own, and malformed with one', async () => {
  const { parse, vocabulary, written } = await dialogue('opened')
  const said = vocabulary.tokenize('one and one</think>2<|endoftext|>', { special: true })
  expect(parse(said)).toEqual({ kind: 'well-formed', thinking: 'one and one', answer: '2' })
  expect(written(said)).toBe('<think>one and one</think>2')
  expect(parse(vocabulary.tokenize('<think>one</think>2'))).toMatchObject({ why: 'two opening tags' })
  const closed = await dialogue('plain')
  expect(closed.parse(said)).toMatchObject({ kind: 'malformed', why: 'no opening tag' })
  expect(closed.written(said)).toBe('one and one</think>2')
})
