/** The bundled base as llama.cpp reads it: its tokens, its control tokens, its chat template. */
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { BRIEF_SYSTEM_MESSAGE } from '../../src/main/reasoning/prompts.ts'
import { FAMILIES } from '../../src/main/reasoning/tasks/index.ts'
import { seeded } from '../../src/shared/random.ts'
import { toMeasured } from '../../resources/base/sequences.ts'
import { CONTROL_TOKENS } from '../../resources/base/tokenizer.ts'

describe('the bundled base', () => {
  let backend: Backend
  let model: Model
  beforeAll(async () => {
    backend = openBackend({ threads: 1 })
    model = await loadModel(fileURLToPath(new URL('../../resources/base/base.gguf', import.meta.url)), backend)
  })
  afterAll(() => {
    model.dispose()
    backend.dispose()
  })
  const pieces = (text: string): string[] =>
    [...model.vocabulary.tokenize(text)].map((token) => model.vocabulary.decode([token]))

  it('gives every digit and sign a token of its own', () => {
    expect(pieces('Compute 137+42*(8-5).')).toEqual([...'Compute| |1|3|7|+|4|2|*|(|8|-|5|)|.'.split('|')])
    expect(pieces('\\boxed{-12}').join('|')).toBe('\\|boxed|{|-|1|2|}')
  })

  it('has one token for each word of the tasks', () => {
    expect(pieces('1 box = 3 bag')).toEqual(['1', ' box', ' =', ' ', '3', ' bag'])
    expect(pieces(BRIEF_SYSTEM_MESSAGE)).toEqual(['Think', ' step', ' by', ' step', ',', ' then', ' answer', '.'])
  })

  it('gives back any text, tasks and traces and strange characters alike', () => {
    const texts = ['', ' ', '  two\n\nlines\t', 'Größe 数 🙂', '<|im_start|> as plain text']
    for (const family of FAMILIES.values()) {
      const random = seeded('round trip', family.name)
      for (const difficulty of [1, 2, 3, 4, 5, 6, 7]) {
        const task = family.generate(difficulty, random)
        const { thinking, answer } = family.teach(task, random)
        texts.push(task.prompt, thinking, answer)
      }
    }
    for (const text of texts) expect(model.vocabulary.decode(model.vocabulary.tokenize(text))).toBe(text)
  })

  it('knows its control tokens and placeholders as single tokens', () => {
    CONTROL_TOKENS.forEach((name, i) => expect(model.vocabulary.specialToken(name)).toBe(i))
    expect(model.vocabulary.isEndOfGeneration(model.vocabulary.specialToken('<|im_end|>')!)).toBe(true)
    expect(model.vocabulary.text(model.vocabulary.eos)).toBe('<|im_end|>')
    expect(model.vocabulary.addBos).toBe(false)
  })

  it('renders chats in the ChatML form', () => {
    const messages = [
      { role: 'system', content: 'S' },
      { role: 'user', content: 'U' }
    ] as const
    expect(model.vocabulary.render(messages, { addGenerationPrompt: true })).toBe(
      '<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>U<|im_end|><|im_start|>assistant<|im_sep|>'
    )
  })

  it('counts exactly what stands between the marks', () => {
    const { tokens, mask } = toMeasured(model.vocabulary, '3+4=«7», 12-5=«7»')
    expect(model.vocabulary.decode(tokens.filter((_, i) => mask[i]))).toBe('77')
    expect(model.vocabulary.decode(tokens)).toBe('3+4=7, 12-5=7')
  })
})
