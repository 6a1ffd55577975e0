/** The Ollama Modelfile as text. */
import { expect, test } from 'vitest'
import { AnsweringSettings } from '../../../src/shared/recipe.ts'
import { modelfile } from '../../../src/main/training/modelfile.ts'
import type { ModelfileFacts } from '../../../src/main/training/modelfile.ts'

const FACTS: ModelfileFacts = {
  from: { base: 'base.gguf', adapter: 'adapter.gguf' },
  system: 'Think first.\nThen answer.',
  stop: ['<|im_end|>'],
  sampling: AnsweringSettings.parse({}),
  contextTokens: 2048,
  hasChatTemplate: true
}
/** What Ollama reads: without comments and empty lines. */
const instructions = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

test('an adapter goes with its base', () => {
  expect(instructions(modelfile(FACTS))).toEqual([
    'FROM ./base.gguf',
    'ADAPTER ./adapter.gguf',
    'SYSTEM """Think first.',
    'Then answer."""',
    'PARAMETER stop "<|im_end|>"',
    'PARAMETER temperature 0.8',
    'PARAMETER top_k 50',
    'PARAMETER top_p 0.95',
    'PARAMETER min_p 0',
    'PARAMETER repeat_penalty 1',
    'PARAMETER num_ctx 2048'
  ])
})

test('a merged model goes alone, the others stand by as comments', () => {
  const text = modelfile({ ...FACTS, from: { models: ['merged-Q8_0.gguf', 'merged-F16.gguf'] } })
  expect(instructions(text)[0]).toBe('FROM ./merged-Q8_0.gguf')
  expect(text).toContain('\n# FROM ./merged-F16.gguf\n')
  expect(text).not.toContain('ADAPTER')
})

test('no template is made up: what is left to Ollama is said', () => {
  expect(instructions(modelfile(FACTS)).some((line) => line.startsWith('TEMPLATE'))).toBe(false)
  expect(modelfile(FACTS)).toMatch(/Left to Ollama: the chat template/)
  expect(modelfile({ ...FACTS, hasChatTemplate: false })).toMatch(/finds none in the GGUF/)
})

test.each([
  ['', /^# Trained without a system message\.$/m],
  ['Say """x""".', /^# The system message it was trained under cannot be quoted/m],
  ['Say "x"', /^# The system message it was trained under cannot be quoted/m]
])('a system message that cannot be written is not half written: %j', (system, said) => {
  const text = modelfile({ ...FACTS, system })
  expect(text).toMatch(said)
  expect(instructions(text).some((line) => line.startsWith('SYSTEM'))).toBe(false)
})
