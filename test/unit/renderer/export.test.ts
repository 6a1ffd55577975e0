import { expect, test } from 'vitest'
import { QUANTIZATIONS } from '../../../src/shared/export-types.ts'
import { JOB_INPUTS } from '../../../src/shared/worker-contract.ts'
import {
  adapterOptions,
  bitsSaid,
  filesSaid,
  isExportOf,
  jobOptions,
  MERGE_OPTIONS,
  OTHERS,
  toggled,
  USUAL,
  WHOLE_OPTIONS
} from '../../../src/renderer/pages/models/export-options.ts'
import { fileWords, isModel } from '../../../src/renderer/pages/runs/export-files.ts'

test('every choice of the dialog is one the job takes, and every type of the job is offered', () => {
  for (const { value } of MERGE_OPTIONS) {
    const asked = { to: '/x', ...jobOptions({ merge: value, quantize: ['Q4_K_M', 'Q8_0'] }) }
    expect(JOB_INPUTS.export.parse(asked)).toEqual({ to: '/x', merge: value, quantize: ['Q4_K_M', 'Q8_0'] })
  }
  expect(jobOptions({ merge: null, quantize: [] })).toEqual({})
  expect([...USUAL, ...OTHERS].sort()).toEqual([...QUANTIZATIONS].sort())
})

test('types are chosen in their own order; what will be written is said', () => {
  expect(toggled(['Q4_K_M'], 'Q8_0', true)).toEqual(['Q8_0', 'Q4_K_M'])
  expect(toggled(['Q8_0', 'Q4_K_M'], 'Q8_0', false)).toEqual(['Q4_K_M'])
  expect(filesSaid({ merge: 'BF16', quantize: ['Q4_K_M'] })).toMatch(/merged-BF16\.gguf, merged-Q4_K_M\.gguf/)
  expect(filesSaid({ merge: null, quantize: [] })).not.toMatch(/merged/)
  expect(filesSaid({ merge: 'F16', quantize: ['Q8_0'] }, true)).toMatch(
    /^model\.gguf, model-F16\.gguf, model-Q8_0\.gguf, a Modelfile/
  )
  expect(WHOLE_OPTIONS.map(({ value }) => value)).toEqual(['F16', 'BF16'])
  expect([bitsSaid('Q8_0'), bitsSaid('Q4_K_M')]).toEqual(['8.5 bits a weight', 'from 4.5 bits a weight'])
})

const adapter = (run: string | null, lineage: string[]) => ({
  path: `/${lineage.join('/')}`,
  whole: false,
  name: 'x',
  bytes: 1,
  run,
  base: '/b',
  lineage
})

test('an export stands under the adapter it was made of; one that names none under what its run ended with', () => {
  const [sft, grpo] = [adapter('demo', ['b', 'sft']), adapter('demo', ['b', 'sft', 'grpo'])]
  const other = adapter('other', ['b', 'sft', 'grpo', 'more'])
  const all = [sft, grpo, other, adapter(null, ['f'])]
  const under = (parent: string, path: string | null): boolean[] =>
    all.map((one) => isExportOf({ parent, adapter: path }, one, all))
  expect(under('demo', null)).toEqual([false, true, false, false])
  expect(under('demo', sft.path)).toEqual([true, false, false, false])
  expect(under('other', other.path)).toEqual([false, false, true, false])
})

test('the adapters of a run are named by stage and step', () => {
  const made = (stage: string, step: number | null) => ({ path: `/${stage}${step}`, whole: false, stage, step })
  const labels = (...all: ReturnType<typeof made>[]): string[] => adapterOptions(all).map(({ label }) => label)
  expect(labels(made('grpo', null), made('sft', null), made('grpo', 40))).toEqual([
    'After GRPO',
    'After SFT',
    'Checkpoint of step 40, GRPO'
  ])
  expect(labels(made('', null), made('', 40))).toEqual(['As the run ended', 'Checkpoint of step 40'])
})

test('each exported file says what it is for, and which of them answer by themselves', () => {
  const names = [
    'adapter.gguf',
    'peft',
    'merged-BF16.gguf',
    'merged-Q4_K_M.gguf',
    'model.gguf',
    'model-F16.gguf',
    'model-Q8_0.gguf',
    'base.gguf',
    'Modelfile',
    'README.md'
  ]
  expect(names.map(fileWords).every((words) => words !== '')).toBe(true)
  expect(fileWords('merged-Q4_K_M.gguf')).toMatch(/quantised to Q4_K_M/)
  expect(fileWords('merged-BF16.gguf')).not.toMatch(/quantised/)
  expect(names.filter(isModel)).toEqual([
    'merged-BF16.gguf', 'merged-Q4_K_M.gguf', 'model.gguf', 'model-F16.gguf', 'model-Q8_0.gguf', 'base.gguf'
  ]) // prettier-ignore
  expect(fileWords('model-F16.gguf')).not.toMatch(/quantised/)
  expect(fileWords('model-Q8_0.gguf')).toMatch(/quantised to Q8_0/)
})
