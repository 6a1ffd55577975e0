import { expect, test } from 'vitest'
import { QUANTIZATIONS } from '../../../src/shared/export-types.ts'
import { JOB_INPUTS } from '../../../src/shared/worker-contract.ts'
import {
  bitsSaid,
  filesSaid,
  isExported,
  jobOptions,
  MERGE_OPTIONS,
  OTHERS,
  toggled,
  USUAL
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
  expect([bitsSaid('Q8_0'), bitsSaid('Q4_K_M')]).toEqual(['8.5 bits a weight', 'from 4.5 bits a weight'])
})

const adapter = (run: string | null, lineage: string[]) => ({
  path: `/${lineage.join('/')}`,
  name: 'x',
  bytes: 1,
  run,
  base: '/b',
  lineage
})

test('of a run of two stages only the last adapter is what its export writes', () => {
  const [sft, grpo] = [adapter('demo', ['b', 'sft']), adapter('demo', ['b', 'sft', 'grpo'])]
  const other = adapter('other', ['b', 'sft', 'grpo', 'more'])
  const all = [sft, grpo, other, adapter(null, ['f'])]
  expect(all.map((one) => isExported(one, all))).toEqual([false, true, true, false])
})

test('each exported file says what it is for, and which of them answer by themselves', () => {
  const names = [
    'adapter.gguf',
    'peft',
    'merged-BF16.gguf',
    'merged-Q4_K_M.gguf',
    'base.gguf',
    'Modelfile',
    'README.md'
  ]
  expect(names.map(fileWords).every((words) => words !== '')).toBe(true)
  expect(fileWords('merged-Q4_K_M.gguf')).toMatch(/quantised to Q4_K_M/)
  expect(fileWords('merged-BF16.gguf')).not.toMatch(/quantised/)
  expect(names.filter(isModel)).toEqual(['merged-BF16.gguf', 'merged-Q4_K_M.gguf', 'base.gguf'])
})
