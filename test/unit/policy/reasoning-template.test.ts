import { describe, expect, test } from 'vitest'
import { compileTemplate } from '../../../src/main/engine/chat-template.ts'
import type { ChatMessage, Render } from '../../../src/main/engine/chat-template.ts'
import { patchTemplate, reasoningTemplate, templateProblems } from '../../../src/main/policy/reasoning-template.ts'
import type { ReasoningStyle } from '../../../src/main/policy/reasoning-template.ts'

const FIXED = "Think first, it's {% worth %} it.\nThen put \\boxed{} last."
const TAGS = { open: '<think>', close: '</think>' }
const STYLE: ReasoningStyle = { tags: TAGS, systemMessage: FIXED, spelledOut: false }
const compile = (source: string): Render => compileTemplate(source, { bos: '<s>', eos: '</s>' })

/** Templates in the manner of families, in their shortest form. */
const CHATML =
  `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}{% endfor %}` +
  `{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}`
/** Adds a system message of its own where there is none. */
const WITH_DEFAULT = `{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system<|im_sep|>I am a default.<|im_end|>' }}{% endif %}${CHATML}`
/** No system role, roles must alternate, the question's end is where the answer begins. */
const INSTRUCT =
  `{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}` +
  `{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}`
/** Knows thoughts: takes them from content or field, keeps the last turn's, drops earlier ones. */
const REASONER =
  `{% set ns = namespace(last=0) %}{% for message in messages %}{% if message['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}` +
  `{% for message in messages %}{% if message['role'] == 'assistant' %}` +
  `{% set content = message['content'].split('</think>')[-1].lstrip('\\n') %}` +
  `{% if message['reasoning_content'] %}{% set thought = message['reasoning_content'] %}{% elif '</think>' in message['content'] %}` +
  `{% set thought = message['content'].split('</think>')[0].split('<think>')[-1].strip('\\n') %}{% else %}{% set thought = '' %}{% endif %}` +
  `{{ '<|im_start|>assistant\\n' }}{% if loop.index0 > ns.last %}{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif %}{{ content + '<|im_end|>\\n' }}` +
  `{% else %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}` +
  `{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`

const question: ChatMessage = { role: 'user', content: 'Q?' }

test.each([
  ['ChatML', CHATML, 'a system turn'],
  ['a template with a default message', WITH_DEFAULT, 'a system turn'],
  ['a template without a system role', INSTRUCT, 'the first question'],
  ['a template that knows thoughts', REASONER, 'a system turn']
])('%s takes the fixed message and passes the check', (_, template, place) => {
  const patched = reasoningTemplate(template, STYLE, compile)
  expect(patched.problems).toEqual([])
  expect(patched.place).toBe(place)
  const prompt = compile(patched.source)([question], { addGenerationPrompt: true })
  expect(prompt.split(FIXED)).toHaveLength(2)
  expect(prompt).not.toContain('default')
})

test('what the template makes of a conversation with a system message stays as it was, character by character', () => {
  const messages: ChatMessage[] = [
    { role: 'system', content: 'S' },
    question,
    { role: 'assistant', content: '<think>t</think>a' }
  ]
  for (const template of [CHATML, WITH_DEFAULT, REASONER]) {
    const patched = compile(patchTemplate(template, STYLE, 'a system turn'))
    for (const addGenerationPrompt of [false, true])
      expect(patched(messages, { addGenerationPrompt })).toBe(compile(template)(messages, { addGenerationPrompt }))
  }
})

test('thoughts of earlier turns are dropped, the last one is kept, a field of its own becomes part of the answer', () => {
  const render = compile(reasoningTemplate(CHATML, { ...STYLE, systemMessage: '' }, compile).source)
  const text = render(
    [
      question,
      { role: 'assistant', content: '<think>old</think>one' },
      { role: 'user', content: 'R?' },
      { role: 'assistant', content: 'two', reasoning_content: 'new' }
    ],
    { addGenerationPrompt: false }
  )
  const turn = (role: string, content: string): string => `<|im_start|>${role}<|im_sep|>${content}<|im_end|>`
  expect(text).toBe(
    turn('user', 'Q?') + turn('assistant', 'one') + turn('user', 'R?') + turn('assistant', '<think>new</think>two')
  )
})

test('any spelling of the tags, and tags that are ordinary text', () => {
  const tags = { open: "[THINK'S]", close: '[/THINK]' }
  const patched = reasoningTemplate(CHATML, { tags, systemMessage: FIXED, spelledOut: true }, compile)
  expect(patched.problems).toEqual([])
  const text = compile(patched.source)(
    [question, { role: 'assistant', content: 'a', reasoning_content: 'hm' }],
    { addGenerationPrompt: false } // prettier-ignore
  )
  expect(text).toContain("<|im_sep|>[THINK'S]\nhm\n[/THINK]\na<|im_end|>")
})

describe('the check sees', () => {
  const stripped = `{% for message in messages %}{% set message = {'role': message['role'], 'content': message['content'].split('</think>')[-1]} %}`
  test.each([
    ['a lost thought', CHATML.replace(`{% for message in messages %}`, stripped), /0 opening tags/],
    ['an emptied thought', REASONER.replaceAll('+ thought +', "+ '' +"), /the thought is emptied/],
    [
      'a doubled thought',
      REASONER.replace(`'<think>\\n' + thought`, `'<think>\\n<think>' + thought`),
      /2 opening tags/
    ],
    ['kept old thoughts', REASONER.replace('loop.index0 > ns.last', 'true'), /an earlier turn keeps a think tag/],
    [
      'a prompt that opens the thought',
      CHATML.replace(`assistant<|im_sep|>'`, `assistant<|im_sep|><think>'`),
      /opens the thought itself/
    ],
    [
      'an ignored add_generation_prompt',
      CHATML.replace('{% if add_generation_prompt %}', '{% if false %}'),
      /add_generation_prompt/
    ],
    [
      'a dropped system message',
      CHATML.replace('{% for message in messages %}', `{% for message in messages if message['role'] != 'system' %}`),
      /the system message stands in the prompt 0 times/
    ],
    ['a template that refuses', `{{ raise_exception('never') }}`, /refuses a conversation: never/]
  ])('%s', (_, template, problem) => {
    expect(template).not.toBe(CHATML)
    expect(template).not.toBe(REASONER)
    const problems = templateProblems(compile(patchTemplate(template, STYLE, 'a system turn')), STYLE, false)
    expect(problems.join('\n')).toMatch(problem)
  })
})
