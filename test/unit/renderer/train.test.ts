import { expect, test } from 'vitest'
import { gemma3 } from '../../../src/main/engine/arch/gemma3.ts'
import { llama } from '../../../src/main/engine/arch/llama.ts'
import { phi3 } from '../../../src/main/engine/arch/phi3.ts'
import { qwen2 } from '../../../src/main/engine/arch/qwen2.ts'
import { qwen3 } from '../../../src/main/engine/arch/qwen3.ts'
import { recipeFields } from '../../../src/main/ipc/recipe-fields.ts'
import { TRAINABLE_ARCHITECTURES } from '../../../src/shared/architectures.ts'
import type { Field } from '../../../src/shared/contract/recipes.ts'
import { parseToken, readTokens, showToken, withToken } from '../../../src/renderer/pages/train/token-list.ts'
import { modulesOf, readTargets, shownModules, withModule } from '../../../src/renderer/pages/train/target-modules.ts'
import { TARGET_MODULES } from '../../../src/shared/recipe.ts'
import { DESCRIBED, settingWords } from '../../../src/renderer/pages/train/setting-words.ts'
import { sections } from '../../../src/renderer/pages/train/sections.ts'
import {
  holds,
  isChanged,
  leaves,
  matchingFields,
  parseSetting,
  rangeText,
  showSetting,
  valueAt,
  withDefault,
  withValue
} from '../../../src/renderer/pages/train/setting-value.ts'

test('targets: all of a base, or a list; a full list is all again, and the last one stays', () => {
  expect([undefined, 'all-linear', ['q_proj'], 'q_proj', ['qproj']].map(readTargets)).toEqual([
    'all-linear',
    'all-linear',
    ['q_proj'],
    null,
    null
  ])
  const llama = modulesOf('llama')
  expect(llama).toHaveLength(7)
  const less = withModule('all-linear', 'down_proj', false, llama)
  expect(less).toEqual(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj'])
  expect(withModule(less, 'down_proj', true, llama)).toBe('all-linear')
  expect(withModule(['q_proj'], 'q_proj', false, llama)).toEqual(['q_proj'])
  expect(withModule(['v_proj'], 'q_proj', true, llama)).toEqual(['q_proj', 'v_proj'])
})

test('the names offered are those the engine’s architecture has', () => {
  const architectures = [llama, qwen2, qwen3, phi3, gemma3]
  expect(architectures.map(({ name }) => name)).toEqual(TRAINABLE_ARCHITECTURES)
  for (const { name, targets } of architectures)
    expect([name, [...modulesOf(name)].sort()]).toEqual([name, Object.keys(targets).sort()])
  expect(modulesOf(null)).toHaveLength(TARGET_MODULES.length)
  expect(shownModules(['qkv_proj'], modulesOf('llama'))).toContain('qkv_proj')
})

const field = (over: Partial<Field>): Field => ({
  path: 'max_steps',
  name: 'max_steps',
  type: 'integer',
  required: false,
  description: 'report: 90',
  ...over
})

test('what belongs to an adapter is hidden with finetuning_type: full, unless it is written; the rate’s default follows', () => {
  const fields = recipeFields('sft')
  const full = { finetuning_type: 'full' }
  const hidden = (values: Record<string, unknown>): string[] =>
    fields.filter((field) => !holds(field, fields, values)).map(({ path }) => path)
  expect(hidden({})).toEqual([])
  expect(hidden(full)).toEqual(['adapter', 'lora'])
  expect(hidden({ ...full, adapter: 'a.gguf' })).toEqual(['lora'])
  expect(hidden({ ...full, lora: { r: 8 } })).toEqual(['adapter'])
  const rate = leaves(fields).find(({ path }) => path === 'optimizer.learning_rate')!
  const rates = [{}, { finetuning_type: 'lora' }, full].map((values) => withDefault(rate, fields, values).default)
  expect(rates).toEqual([2e-4, 2e-4, 1e-5])
  const steps = leaves(fields).find(({ path }) => path === 'max_steps')!
  expect(withDefault(steps, fields, full)).toBe(steps)
})

test('values are read and written by dotted paths; an emptied group goes', () => {
  const values = { kind: 'grpo', optimizer: { learning_rate: 2e-5 } }
  expect(valueAt(values, 'optimizer.learning_rate')).toBe(2e-5)
  expect(valueAt(values, 'optimizer.toString')).toBeUndefined()
  expect(valueAt(null, 'kind')).toBeUndefined()
  expect(withValue(values, 'lora.r', 8)).toEqual({ ...values, lora: { r: 8 } })
  expect(withValue(values, 'optimizer.learning_rate', null)).toEqual({ kind: 'grpo' })
  expect(Object.keys(withValue(values, 'kind', 'sft'))).toEqual(['kind', 'optimizer'])
})

test.each<[Partial<Field>, string, unknown]>([
  [{}, ' 12 ', { value: 12 }],
  [{}, '', { value: null }],
  [{ required: true }, '', { problem: 'max_steps is needed' }],
  [{}, '1.5', { problem: 'max_steps is a whole number' }],
  [{ exclusiveMinimum: 0 }, '0', { problem: 'max_steps must be 1 or more' }],
  [{ type: 'number', exclusiveMinimum: 0, maximum: 5 }, '6', { problem: 'max_steps must be more than 0, up to 5' }],
  [{ type: 'number' }, '2e-4', { value: 2e-4 }],
  [{ type: 'number' }, '0x10', { problem: 'max_steps is a number, such as 0.1' }],
  [{ type: 'number', default: 2e-4 }, 'fast', { problem: 'max_steps is a number, such as 2e-4' }],
  [{ type: 'path' }, '/models/a.gguf', { value: '/models/a.gguf' }]
])('%o reads %j', (over, text, expected) => {
  expect(parseSetting(field(over), text)).toEqual(expected)
})

test('ranges of the schema’s own making are not shown', () => {
  expect(rangeText(field({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }))).toBe('')
  expect(rangeText(field({ type: 'number', minimum: 0, maximum: 1 }))).toBe('0 or more, up to 1')
})

test('values are shown short', () => {
  expect([2e-5, 8 / 13, 0.25, 1e-8, 90, ['a', 'b'], true, undefined, [{ file: 'x' }]].map(showSetting)).toEqual([
    '2e-5',
    '0.61538',
    '0.25',
    '1e-8',
    '90',
    'a, b',
    'true',
    '',
    '1 entries'
  ])
})

test('changed means: written, and not the default', () => {
  const steps = field({ default: 90 })
  expect([{}, { max_steps: 90 }, { max_steps: 9 }].map((values) => isChanged(steps, values))).toEqual([
    false,
    false,
    true
  ])
})

test('a search keeps a group for what is inside', () => {
  const lora = field({
    path: 'lora',
    name: 'lora',
    type: 'group',
    description: '',
    fields: [
      field({ path: 'lora.r', name: 'r', description: 'rank' }),
      field({ path: 'lora.x', name: 'x', description: '' })
    ]
  })
  const found = matchingFields([lora, field({})], 'rank')
  expect(found.map((one) => [one.path, one.fields?.map((inner) => inner.path)])).toEqual([['lora', ['lora.r']]])
})

test('every setting stands in exactly one section, unknown ones in the last', () => {
  const names = ['kind', 'base', 'max_steps', 'lora', 'brand_new']
  const made = sections(names.map((name) => field({ name, path: name })))
  expect(made.flatMap((section) => section.fields.map((one) => one.name))).toEqual([
    'base',
    'max_steps',
    'lora',
    'brand_new'
  ])
  expect(made.at(-1)?.title).toBe('More')
})

test('every number of the form says what it is, and every word belongs to a setting', () => {
  const all = (['sft', 'grpo', 'evaluate'] as const).flatMap((kind) => leaves(recipeFields(kind)))
  const mute = all.filter(
    ({ type, path, description }) =>
      (type === 'number' || type === 'integer') &&
      settingWords(path) === '' &&
      description.replace(/(^|; )report: [^;]+/g, '') === ''
  )
  expect(mute.map(({ path }) => path)).toEqual([])
  const paths = new Set(all.map(({ path }) => path))
  expect(DESCRIBED.filter((path) => !paths.has(path))).toEqual([])
})

test('a token is typed as text or as id, and shown as it would be typed again', () => {
  for (const token of ['<think>', 5, '5', ' the', '"', 'a "b"', 0]) expect(parseToken(showToken(token))).toBe(token)
  expect([' <think> ', '', ' ', '""', '012'].map(parseToken)).toEqual(['<think>', null, null, null, 12])
  expect(withToken(['<think>', 5], '<think>')).toEqual([5, '<think>'])
  expect(withToken([5], '5')).toEqual([5, '5'])
  expect([undefined, 'x', [1, null, 'a']].map(readTokens)).toEqual([[], [], [1, 'a']])
})
