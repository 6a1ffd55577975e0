/** Adapters of an evaluation's policies: one that does not fit its base is refused before the first answer, not hours later. */
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { writePeft } from '../../src/main/engine/peft.ts'
import { runEvaluation } from '../../src/main/evaluation/evaluate.ts'
import { EvaluateRecipe, LoraSettings } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

owner() // counts what the jobs leave behind
const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const [base, twin, narrow] = [at('base.gguf'), at('twin.gguf'), at('narrow.gguf')]
const [adapter, peft] = [at('adapter.gguf'), at('peft')]

beforeAll(async () => {
  const backend = openBackend({ threads: 1 })
  const template = { 'tokenizer.chat_template': { kind: 'text', value: CHAT_TEMPLATE } } as const
  writeTinyModel(backend, base, TINY, 1, template)
  copyFileSync(base, twin)
  writeTinyModel(backend, narrow, { ...TINY, width: 128, heads: 2, keyHeads: 1 }, 2, template)
  const model = await loadModel(base, backend)
  const made = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
  made.save(adapter)
  mkdirSync(peft)
  writePeft(made, peft, 'base')
  made.dispose()
  model.dispose()
  backend.dispose()
})

/** The names of the phases; the policy `first` has the recipe's own base and fits. */
async function evaluate(name: string, later: readonly object[]): Promise<string[]> {
  const recipe = EvaluateRecipe.parse({
    kind: 'evaluate',
    base,
    output_dir: at(name),
    policies: [{ name: 'first', adapter }, ...later],
    tasksets: [{ name: 'sums', tasks: [{ family: 'arithmetic', difficulty: 1, count: 1 }] }],
    runs: 1,
    device: 'cpu',
    threads: 1,
    system_message: '',
    max_prompt_length: 200,
    max_completion_length: 2
  })
  mkdirSync(recipe.output_dir)
  writeFileSync(join(recipe.output_dir, 'recipe.yaml'), stringify(recipe))
  const phases: string[] = []
  const context = {
    emit: (event: { kind: string; name?: string }) => void (event.kind === 'phase' && phases.push(event.name!)),
    signal: new AbortController().signal,
    runDir: recipe.output_dir
  }
  await runEvaluation({ recipe, resume: false }, context)
  return phases
}

test.each([
  ['a file', adapter],
  ['a folder of PEFT’s', peft]
])('%s that does not fit the base of a later policy is refused by name before anything is written', async (_, path) => {
  const name = `misfit ${path === peft}`
  const later = [
    { name: 'fits', base: twin, adapter: path },
    { name: 'astray', base: narrow, adapter: path }
  ]
  await expect(evaluate(name, later)).rejects.toMatchObject({
    code: 'model',
    message: expect.stringMatching(/^policies: astray: /) as string
  })
  await expect(evaluate(`${name} again`, later)).rejects.toThrow(path)
  expect(readdirSync(at(name))).toEqual(['recipe.yaml'])
})

test('where each fits its own base, all are asked', async () => {
  const later = [
    { name: 'twin', base: twin, adapter: peft },
    { name: 'narrow', base: narrow }
  ]
  expect(await evaluate('fitting', later)).toContain('answering')
})
