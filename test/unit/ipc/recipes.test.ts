import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { Field } from '../../../src/shared/contract/recipes.ts'
import { recipeTemplate } from '../../../src/main/data/prepare/recipe-template.ts'
import type { Host } from '../../../src/main/ipc/host.ts'
import { recipeFields } from '../../../src/main/ipc/recipe-fields.ts'
import { checkRecipe, issuesOf } from '../../../src/main/ipc/recipe-text.ts'
import { recipeCalls } from '../../../src/main/ipc/recipes.ts'
import { tinyGgufHeader } from '../../fake/gguf-header.ts'

const folder = mkdtempSync(join(tmpdir(), 'recipes-'))
afterAll(() => rmSync(folder, { recursive: true }))
writeFileSync(join(folder, 'base.gguf'), tinyGgufHeader(1024))
writeFileSync(join(folder, 'train.jsonl'), '{}\n')
const host = { options: { workspace: folder }, at: (...names: string[]) => join(folder, ...names) } as unknown as Host
const { check, edit, open } = recipeCalls(host)
const GOOD = 'kind: sft\nbase: base.gguf\ntrain: train.jsonl\nmax_length: 512\n'

describe('the form', () => {
  const byPath = (kind: 'sft' | 'grpo' | 'evaluate'): Map<string, Field> => {
    const all = (fields: readonly Field[]): Field[] => fields.flatMap((field) => [field, ...all(field.fields ?? [])])
    return new Map(all(recipeFields(kind)).map((field) => [field.path, field]))
  }
  test('has every setting with its default, range and what the report had', () => {
    const fields = byPath('grpo')
    expect(fields.get('max_steps')).toMatchObject({ type: 'integer', default: 90, report: '90', required: false })
    expect(fields.get('optimizer.learning_rate')).toMatchObject({
      type: 'number',
      exclusiveMinimum: 0,
      defaultBy: { finetuning_type: { lora: 2e-5, full: 5e-8 } }
    })
    expect(fields.get('lora')).toMatchObject({ onlyWith: { finetuning_type: 'lora' } })
    expect(fields.get('loss_type')).toMatchObject({ type: 'choice', choices: ['grpo', 'dapo', 'dr_grpo', 'bnpo'] })
    expect(fields.get('lora')).toMatchObject({ type: 'group' })
    expect(fields.get('lora.target_modules')).toMatchObject({ type: 'yaml', default: 'all-linear' })
    expect(fields.get('tasks')).toMatchObject({ type: 'yaml', required: true })
    expect(fields.get('base')).toMatchObject({ type: 'path', required: true })
    expect(fields.get('output_dir')).toMatchObject({ required: false })
    expect(fields.has('kind')).toBe(false)
  })
  test.each(['sft', 'grpo', 'evaluate'] as const)('of %s says something of each type it uses', (kind) => {
    const known = ['number', 'integer', 'boolean', 'text', 'path', 'choice', 'choices', 'group', 'yaml']
    for (const field of byPath(kind).values()) expect(known).toContain(field.type)
  })
})

describe('checking', () => {
  test('a good recipe has no issues and needs no output_dir', async () =>
    expect(await check({ yaml: GOOD }, undefined)).toEqual({
      kind: 'sft',
      values: { kind: 'sft', base: 'base.gguf', train: 'train.jsonl', max_length: 512 },
      issues: []
    }))
  test('issues stand at their lines and settings', async () => {
    const { issues } = await check({ yaml: `${GOOD}lora:\n  r: -1\nlerning_rate: 3\n` }, undefined)
    expect(issues).toEqual([
      { line: 6, path: 'lora.r', message: '-1: must be more than 0' },
      { line: 7, path: 'lerning_rate', message: expect.stringMatching(/^3: unknown key/) }
    ])
  })
  test('a missing file, a rule with the base, broken YAML, no settings at all', async () => {
    expect((await check({ yaml: GOOD.replace('train.jsonl', 'none') }, undefined)).issues).toMatchObject([
      { line: 3, path: 'train' }
    ])
    expect((await check({ yaml: GOOD.replace('512', '4096') }, undefined)).issues).toMatchObject([
      { line: 4, path: 'max_length', message: expect.stringContaining('1024 or less, the context of the base') }
    ])
    expect(await check({ yaml: 'kind: [sft\n' }, undefined)).toMatchObject({
      kind: null,
      values: null,
      issues: [{ message: expect.stringContaining('not valid YAML') }]
    })
    expect((await check({ yaml: '' }, undefined)).issues).toHaveLength(1)
  })
  test('a base that is no model is told at its setting', async () => {
    writeFileSync(join(folder, 'bad.gguf'), 'x'.repeat(200))
    expect((await check({ yaml: GOOD.replace('base.gguf', 'bad.gguf') }, undefined)).issues).toMatchObject([
      { path: 'base' }
    ])
  })
  test('flow style gets its folder too', async () => {
    const { recipe } = await checkRecipe(
      '{ kind: sft, base: base.gguf, train: train.jsonl, max_length: 64 }',
      folder,
      '/somewhere/new'
    )
    expect(recipe.output_dir).toBe('/somewhere/new')
  })
  test('what is no refusal is thrown on', () => expect(() => issuesOf(new TypeError('a bug'), folder)).toThrow('a bug'))
})

function with_(object: object, [key, ...rest]: readonly string[], value: unknown): object {
  const inner = rest.length === 0 ? value : with_((object as Record<string, object>)[key!] ?? {}, rest, value)
  const { [key!]: _, ...others } = object as Record<string, unknown>
  return inner === undefined ? others : { ...object, [key!]: inner }
}

describe('editing keeps the rest as it was', () => {
  const yaml = '# mine\nkind: sft # yes\nlora: # small\n  r: 8 # rank\n'
  test.each([
    ['a value', 'lora.r', 16, '# mine\nkind: sft # yes\nlora: # small\n  r: 16 # rank\n'],
    [
      'a new value in a group',
      'lora.lora_alpha',
      32,
      '# mine\nkind: sft # yes\nlora: # small\n  r: 8 # rank\n  lora_alpha: 32\n'
    ],
    ['a new group', 'optimizer.learning_rate', 0.001, `${yaml}optimizer:\n  learning_rate: 0.001\n`],
    [
      'a list',
      'lora.target_modules',
      ['q_proj'],
      '# mine\nkind: sft # yes\nlora: # small\n  r: 8 # rank\n  target_modules: [q_proj]\n'
    ],
    ['a value away, and its empty group', 'lora.r', null, '# mine\nkind: sft # yes\n'],
    ['nothing where nothing is', 'seed', null, yaml]
  ])('%s', (_what, path, value, expected) => expect(edit({ yaml, path, value }, undefined)).toEqual({ yaml: expected }))
  test('every setting of a written template can be set and removed again, and nothing else changes', () => {
    for (const kind of ['sft', 'grpo', 'evaluate'] as const) {
      const template = recipeTemplate(kind)
      for (const field of recipeFields(kind).flatMap((one) => one.fields ?? [one])) {
        if (field.type !== 'number' && field.type !== 'integer') continue
        const { yaml } = edit({ yaml: template, path: field.path, value: 7 }, undefined) as { yaml: string }
        expect(parse(yaml)).toEqual(with_(parse(template) as object, field.path.split('.'), 7))
        const [before, after] = [template, yaml].map((text) => text.split('\n'))
        const differing = after!.filter((line) => !before!.includes(line))
        expect(differing.length).toBeLessThanOrEqual(1)
        const { yaml: without } = edit({ yaml, path: field.path, value: null }, undefined) as { yaml: string }
        expect(parse(without)).toEqual(with_(parse(template) as object, field.path.split('.'), undefined))
      }
    }
  })
  test('what stands in braces is still set right', () => {
    const { yaml } = edit({ yaml: 'lora: { r: 8 }\nseed: 1\n', path: 'lora.lora_alpha', value: 3 }, undefined) as {
      yaml: string
    }
    expect(parse(yaml)).toEqual({ lora: { r: 8, lora_alpha: 3 }, seed: 1 })
  })
  test('an empty text begins a recipe', () =>
    expect(edit({ yaml: '', path: 'kind', value: 'sft' }, undefined)).toEqual({ yaml: 'kind: sft\n' }))
  test('broken YAML is left alone', () =>
    expect(() => edit({ yaml: 'a: [', path: 'a', value: 1 }, undefined)).toThrow(/mistake/))
})

test('an opened file’s paths stay what they were', () => {
  writeFileSync(join(folder, 'mine.yaml'), 'kind: sft\nbase: base.gguf # here\ntrain: /data/train.jsonl\n')
  expect(open({ path: join(folder, 'mine.yaml') }, undefined)).toEqual({
    yaml: `kind: sft\nbase: ${join(folder, 'base.gguf')} # here\ntrain: /data/train.jsonl\n`
  })
  expect(() => open({ path: join(folder, 'none.yaml') }, undefined)).toThrow('no such file')
})
