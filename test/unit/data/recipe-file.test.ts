import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'
import { AppError } from '../../../src/shared/errors.ts'
import { effectiveSettings } from '../../../src/shared/recipe.ts'
import type { Recipe } from '../../../src/shared/recipe.ts'
import { crossCheck } from '../../../src/main/data/prepare/recipe-checks.ts'
import { parseRecipe, readRecipeFile, refuseImpossible } from '../../../src/main/data/prepare/recipe-file.ts'
import { recipeTemplate, TEMPLATES } from '../../../src/main/data/prepare/recipe-template.ts'

/** What a recipe is refused with, one line a problem. */
function refusal(work: () => unknown): string[] {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(AppError)
    expect((error as AppError).code).toBe('recipe')
    return (error as AppError).message.split('\n')
  }
  return []
}
const problems = (text: string): string[] => refusal(() => parseRecipe(text, 'r.yaml'))

const SFT = 'kind: sft\nbase: b.gguf\noutput_dir: out\ntrain: t.jsonl\n'
const GRPO = 'kind: grpo\nbase: b.gguf\noutput_dir: out\ntasks:\n  - family: chain\n'
const EVALUATE =
  'kind: evaluate\nbase: b.gguf\noutput_dir: out\npolicies:\n  - name: base\ntasksets:\n  - name: t\n    tasks: [{family: chain}]\n'

describe('every problem names its line, its value and what is allowed', () => {
  test.each<[string, string, string[]]>([
    ['empty', '', ['r.yaml:1: the file is empty or not a list of "key: value" lines']],
    ['a list', '- a\n', ['r.yaml:1: the file is empty or not a list of "key: value" lines']],
    ['no kind', 'base: b.gguf\n', ['r.yaml:1: kind: missing: must be sft | grpo | evaluate']],
    ['another kind', '\n\nkind: ppo\n', ['r.yaml:3: kind: "ppo": must be sft | grpo | evaluate']],
    ['a kind of its own', 'kind: toString\n', ['r.yaml:1: kind: "toString": must be sft | grpo | evaluate']],
    ['a missing key', 'kind: sft\nbase: b\noutput_dir: o\n', ['r.yaml:1: train: missing: must be text']],
    ['empty text', SFT.replace('b.gguf', '""'), ['r.yaml:2: base: "": must not be empty']],
    [
      'a misspelt key',
      `${SFT}\n# why\nmax_lenght: 9\n`,
      ['r.yaml:7: max_lenght: 9: unknown key; did you mean max_length?']
    ],
    [
      'a misspelt key inside a group',
      `${SFT}lora:\n  r: 8\n  lora_alpa: 9\n`,
      ['r.yaml:7: lora.lora_alpa: 9: unknown key; did you mean lora_alpha?']
    ],
    [
      'an unknown key inside a group',
      `${GRPO}sampling:\n  beams: 4\n`,
      ['r.yaml:7: sampling.beams: 4: unknown key; known keys here are temperature, top_k, top_p, min_p']
    ],
    ['too small', `${GRPO}num_generations: 1\n`, ['r.yaml:6: num_generations: 1: must be 2 or more']],
    ['not above', `${SFT}save_minutes: 0\n`, ['r.yaml:5: save_minutes: 0: must be more than 0']],
    ['too big', `${SFT}lora: {r: 2000}\n`, ['r.yaml:5: lora.r: 2000: must be 1024 or less']],
    [
      'not below',
      `${GRPO}optimizer: {learning_rate: 1e-5, adam_beta1: 1}\n`,
      ['r.yaml:6: optimizer.adam_beta1: 1: must be less than 1']
    ],
    ['not whole', `${GRPO}max_steps: 1.5\n`, ['r.yaml:6: max_steps: 1.5: must be a whole number']],
    ['not a number', `${GRPO}beta: low\n`, ['r.yaml:6: beta: "low": must be a number']],
    ['not true or false', `${SFT}packing: maybe\n`, ['r.yaml:5: packing: "maybe": must be true or false']],
    ['no choice', `${GRPO}loss_type: ppo\n`, ['r.yaml:6: loss_type: "ppo": must be grpo | dapo | dr_grpo | bnpo']],
    [
      'no choice in a list',
      `${SFT}lora:\n  target_modules:\n    - q_proj\n    - x_proj\n`,
      [
        'r.yaml:8: lora.target_modules[1]: "x_proj": must be q_proj | k_proj | v_proj | qkv_proj | o_proj | gate_proj | up_proj | gate_up_proj | down_proj'
      ]
    ],
    ['an empty list', GRPO.replace('\n  - family: chain', ' []'), ['r.yaml:4: tasks: []: must be 1 entries or more']],
    [
      'a source of tasks by the branch that was meant',
      GRPO.replace('family: chain', 'family: chian\n    count: 0'),
      [
        'r.yaml:5: tasks[0].family: "chian": must be arithmetic | countdown | linear | chain',
        'r.yaml:6: tasks[0].count: 0: must be 1 or more'
      ].map((line) => line.replace('1 or more', 'more than 0'))
    ],
    [
      'a file of tasks with a misspelt key',
      GRPO.replace('family: chain', 'file: a.jsonl\n    skips: 3'),
      ['r.yaml:6: tasks[0].skips: 3: unknown key; did you mean skip?']
    ],
    [
      'broken YAML',
      'kind: sft\nbase: [1\n',
      ['r.yaml:3: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]']
    ],
    ['a key twice', `${SFT}base: c\n`, ['r.yaml:5: not valid YAML: Map keys must be unique']]
  ])('%s', (_name, text, expected) => expect(problems(text)).toEqual(expected))

  test('all of them at once, in the order of the file’s checks', () => {
    expect(problems(`${SFT}seed: 1.5\nmax_length: 0\nnonsense: 1\n`)).toHaveLength(3)
  })
})

describe('every weight', () => {
  const FULL = 'finetuning_type: full\n'
  const lora = 'belongs to finetuning_type: lora; leave it out with full, which trains every weight'
  test.each<[string, string[]]>([
    [`${SFT}${FULL}`, []],
    [`${SFT}${FULL}lora: {r: 16, lora_alpha: 32}\n`, []], // what init writes
    [`${SFT}${FULL}lora:\n  r: 8\n`, [`r.yaml:7: lora.r: 8: ${lora}`]],
    [
      `${SFT}${FULL}lora:\n  trainable_token_indices: ["<think>"]\n`,
      [`r.yaml:7: lora.trainable_token_indices: ["<think>"]: ${lora}`]
    ],
    [
      `${GRPO}${FULL}kl_target: base\nadapter: a.gguf\n`,
      [
        'r.yaml:8: adapter: "a.gguf": belongs to finetuning_type: lora; with full name what to start from as base (an adapter can be merged by "reasonsmith export --merge-type F32")',
        'r.yaml:7: kl_target: "base": must be old with finetuning_type: full: training changes the base itself, so that none is left to compare with'
      ]
    ],
    [`${GRPO}kl_target: base\n`, []],
    [`${SFT}finetuning_type: freeze\n`, ['r.yaml:5: finetuning_type: "freeze": must be lora | full']]
  ])('%j', (text, expected) => expect(problems(text)).toEqual(expected))

  test('takes its rate from what is trained, and keeps one that is written', () => {
    const rate = (text: string): unknown =>
      (parseRecipe(text, 'r.yaml').recipe as { optimizer: { learning_rate: unknown } }).optimizer.learning_rate
    expect([SFT, SFT + FULL, GRPO, GRPO + FULL].map(rate)).toEqual([2e-4, 1e-5, 2e-5, 5e-8])
    expect(rate(`${SFT}${FULL}optimizer: {learning_rate: 0.5}\n`)).toBe(0.5)
  })

  test('needs a base in F32: the first weight that is none is named', () => {
    const narrow = { tensor: 'token_embd.weight', type: 'F16' }
    const file = parseRecipe(SFT + FULL, 'r.yaml')
    expect(refusal(() => refuseImpossible(file, { narrow }))).toEqual([
      expect.stringMatching(
        /^r.yaml:5: finetuning_type: "full": must be lora on this base, whose token_embd.weight is F16.*prepare BASE --f32/
      )
    ])
    expect(() => refuseImpossible(file, { narrow: null })).not.toThrow()
    expect(() => refuseImpossible(parseRecipe(SFT, 'r.yaml'), { narrow })).not.toThrow()
  })

  test('a kept recipe says nothing of lora, and is read again', () => {
    const file = parseRecipe(`${SFT}${FULL}`, '/r.yaml')
    expect(effectiveSettings(file.recipe)).not.toHaveProperty('lora')
    expect(parseRecipe(stringify(effectiveSettings(file.recipe)), '/r.yaml').recipe).toEqual(file.recipe)
    const plain = parseRecipe(SFT, 'r.yaml').recipe
    expect(effectiveSettings(plain)).toEqual(plain)
  })
})

describe('rules between keys', () => {
  test.each<[string, string[]]>([
    [
      `${GRPO}minibatches: 3\n`,
      ['r.yaml:6: minibatches: 3: must divide the rollouts of a step, prompts_per_step × num_generations = 64']
    ],
    [`${GRPO}minibatches: 4\n`, []],
    [
      `${GRPO}epsilon: 0.3\nepsilon_high: 0.2\n`,
      ['r.yaml:7: epsilon_high: 0.2: must be 0.3 or more, the value of epsilon']
    ],
    [
      `${GRPO}reward:\n  l_pos_control: 512\n`,
      ['r.yaml:7: reward.l_pos_control: 512: must be less than l_max, here 512']
    ],
    [
      `${GRPO}reward: {l_max: 100, l_neg_control: 101}\n`,
      ['r.yaml:6: reward.l_neg_control: 101: must be l_max or less, here 100']
    ],
    [
      `${GRPO}delta: 1.28\nepsilon_high: 0.28\n`,
      ['r.yaml:6: delta: 1.28: must be more than 1.28, 1 + epsilon_high: within it ratios are clipped already']
    ],
    [
      `${GRPO}delta: 1.1\n`,
      ['r.yaml:6: delta: 1.1: must be more than 1.2, 1 + epsilon: within it ratios are clipped already']
    ],
    [`${GRPO}delta: 3\n`, []],
    [
      `${GRPO}sampling_correction_cap: 3\n`,
      ['r.yaml:6: sampling_correction_cap: 3: has no effect without sampling_correction: truncate']
    ],
    [`${GRPO}sampling_correction: truncate\nsampling_correction_cap: 3\n`, []],
    [`${GRPO}eval_steps: 5\n`, ['r.yaml:6: eval_steps: 5: needs held_out: there is nothing to evaluate on']],
    [`${SFT}held_out_share: 1\n`, ['r.yaml:5: held_out_share: 1: must be less than 1, or nothing is left to train on']],
    [
      EVALUATE.replace('- name: base', '- name: a\n  - name: a'),
      ['r.yaml:4: policies: [{"name":"a"},{"name":"a"}]: each name once; twice: a']
    ]
  ])('%j', (text, expected) => expect(problems(text)).toEqual(expected))

  test.each<[string, string, number | undefined, string[]]>([
    ['fits exactly', GRPO, 1024, []],
    ['unknown context', GRPO, undefined, []],
    [
      'prompt + answer',
      `${GRPO}max_completion_length: 600\n`,
      1024,
      [
        'r.yaml:6: max_completion_length: 600: max_prompt_length (512) + max_completion_length must be 1024 or less, the context of the base'
      ]
    ],
    [
      'a default that does not fit',
      SFT,
      1024,
      ['r.yaml:1: max_length: 2048: must be 1024 or less, the context of the base']
    ]
  ])('against the context of the base: %s', (_name, text, contextTokens, expected) => {
    const file = parseRecipe(text, 'r.yaml')
    expect(refusal(() => refuseImpossible(file, { contextTokens }))).toEqual(expected)
  })

  test.each([
    ['sft', `${SFT}\ncache_type: q8_0`],
    ['grpo', `${GRPO}\ncache_type: q8_0`]
  ])('%s: a cache that cannot hold the heads of the base', (_kind, text) => {
    const file = parseRecipe(text, 'r.yaml')
    const line = text.split('\n').length
    expect(refusal(() => refuseImpossible(file, { headDim: 48 }))).toEqual([
      `r.yaml:${line}: cache_type: "q8_0": must be f16: q8_0 holds blocks of 32 values, the heads of the base have 48`
    ])
    for (const facts of [{ headDim: 64 }, {}]) expect(() => refuseImpossible(file, facts)).not.toThrow()
  })

  test('are checked without a file as well', () => {
    const { recipe } = parseRecipe(GRPO, 'r.yaml')
    expect(crossCheck(recipe, { contextTokens: 1000 }).map((problem) => problem.path)).toEqual([
      ['max_completion_length']
    ])
  })
})

describe('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'recipe-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }

  test('are found beside the recipe, whatever the working folder', () => {
    write('b.gguf', '')
    write('t.jsonl', '')
    const { recipe } = readRecipeFile(write('good.yaml', SFT), 'sft')
    expect(recipe).toMatchObject({
      base: join(folder, 'b.gguf'),
      train: join(folder, 't.jsonl'),
      output_dir: join(folder, 'out')
    })
  })

  test('that are missing are all named with their lines', () => {
    mkdirSync(join(folder, 'a-folder'))
    write('a-file', '')
    const path = write(
      'bad.yaml',
      'kind: grpo\nbase: no.gguf\nadapter: a-folder\noutput_dir: a-file\ntasks:\n  - family: chain\n  - file: no.jsonl\n'
    )
    expect(refusal(() => readRecipeFile(path))).toEqual([
      `${path}:2: base: "${folder}/no.gguf": no such file`,
      `${path}:3: adapter: "${folder}/a-folder": must be a file, this is a folder`,
      `${path}:4: output_dir: "${folder}/a-file": must be a folder, this is a file`,
      `${path}:7: tasks[1].file: "${folder}/no.jsonl": no such file`
    ])
  })

  test('a recipe that is not there is refused in words', () =>
    expect(refusal(() => readRecipeFile(join(folder, 'none.yaml')))).toEqual([
      `cannot read the recipe ${folder}/none.yaml: no such file or folder`
    ]))

  test('a folder for a recipe too', () =>
    expect(refusal(() => readRecipeFile(folder))).toEqual([`cannot read the recipe ${folder}: it is a folder`]))
})

describe('the template', () => {
  const kinds = Object.keys(TEMPLATES) as Recipe['kind'][]

  test.each(kinds)('of %s parses to the defaults', (kind) => {
    const parsed = parseRecipe(recipeTemplate(kind), join('/', `${kind}.yaml`)).recipe
    const { schema, required } = TEMPLATES[kind]
    const text = JSON.stringify(schema.parse(required))
    const relative = JSON.parse(JSON.stringify(parsed).replaceAll('"/', '"')) as unknown
    expect(relative).toEqual(JSON.parse(text))
  })

  test.each(kinds)('of %s has every key, optional ones commented out', (kind) => {
    const text = recipeTemplate(kind)
    const { properties = {} } = z.toJSONSchema(TEMPLATES[kind].schema, { io: 'input' })
    for (const key of Object.keys(properties)) {
      expect(text).toMatch(new RegExp(`^(# )?${key}:`, 'm'))
    }
  })

  test.each(['sft', 'grpo'] as const)('of %s holds with finetuning_type: full, its rate included', (kind) => {
    const text = recipeTemplate(kind)
    expect(text).toMatch(/# learning_rate: .*default: .* with lora \(ours\), .* with full \(the report’s\)/)
    const full = text.replace('finetuning_type: lora', 'finetuning_type: full')
    expect(full).not.toBe(text)
    const { recipe } = parseRecipe(full, join('/', `${kind}.yaml`))
    expect(recipe).toMatchObject({ optimizer: { learning_rate: { sft: 1e-5, grpo: 5e-8 }[kind] } })
  })

  test.each(kinds)('of %s says the range of what it offers', (kind) => {
    expect(recipeTemplate(kind)).toMatch(/max_completion_length: 512 {2}# 1 or more/)
  })
})
