/** What an export writes: the choice of types, in words, and the options of its job. Pure. */
import { MERGE_TYPES, QUANTIZATIONS } from '../../../shared/export-types.ts'
import type { MergeType, Quantization } from '../../../shared/export-types.ts'
import type { RunAdapter, RunSummary } from '../../../shared/contract/types.ts'
import type { Adapter } from './lineage.ts'

export type MergeChoice = 'auto' | MergeType
export type ExportChoice = { readonly merge: MergeChoice | null; readonly quantize: readonly Quantization[] }

/** Bits a weight of the type's blocks takes, scales included (llama.cpp's block layouts). K mixtures take somewhat more. */
const BITS: Readonly<Record<Quantization, number>> = {
  Q8_0: 8.5,
  Q6_K: 6.5625,
  Q5_K_M: 5.5,
  Q5_K_S: 5.5,
  Q5_1: 6,
  Q5_0: 5.5,
  Q4_K_M: 4.5,
  Q4_K_S: 4.5,
  Q4_1: 5,
  Q4_0: 4.5,
  Q3_K_L: 3.4375,
  Q3_K_M: 3.4375,
  Q3_K_S: 3.4375,
  Q2_K: 2.625
}

/** Those most people want; the others stand under “More types”. */
export const USUAL: readonly Quantization[] = ['Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M']
export const OTHERS: readonly Quantization[] = QUANTIZATIONS.filter((type) => !USUAL.includes(type))

export const bitsSaid = (type: Quantization): string =>
  `${type.includes('_K') ? 'from ' : ''}${Number(BITS[type].toFixed(1))} bits a weight`

const MERGE_WORDS: Readonly<Record<MergeType, string>> = {
  F16: '16 bits, read everywhere',
  BF16: '16 bits with the range of 32; as most bases were trained',
  F32: '32 bits, twice the size'
}
export const MERGE_OPTIONS: readonly { value: MergeChoice; label: string; hint: string }[] = [
  { value: 'auto', label: 'As the base needs it', hint: 'BF16 of a BF16 base, else F16' },
  ...MERGE_TYPES.map((value) => ({ value, label: value, hint: MERGE_WORDS[value] }))
]

/** Chosen or not, in the order of the types. */
export const toggled = (chosen: readonly Quantization[], type: Quantization, on: boolean): Quantization[] =>
  QUANTIZATIONS.filter((one) => (one === type ? on : chosen.includes(one)))

/** What the job is told: no key where nothing is asked for. */
export const jobOptions = ({ merge, quantize }: ExportChoice): Readonly<Record<string, unknown>> => ({
  ...(merge !== null && { merge }),
  ...(quantize.length > 0 && { quantize: [...quantize] })
})

/** Of a whole model, which is written in F32 whatever is asked for. */
export const WHOLE_OPTIONS = MERGE_OPTIONS.filter(({ value }) => value === 'F16' || value === 'BF16')

/** What will lie in the folder, as a sentence; `whole`: of a model of which every weight was trained. */
export function filesSaid({ merge, quantize }: ExportChoice, whole = false): string {
  const named = (type: string): string => `${whole ? 'model' : 'merged'}-${type}.gguf`
  const models = [
    ...(merge === null ? [] : [merge === 'auto' ? 'the merged model' : named(merge)]),
    ...quantize.map(named)
  ]
  const first = whole ? ['model.gguf'] : ['adapter.gguf', 'a PEFT folder']
  return [...first, ...models, 'a Modelfile for Ollama', 'a model card'].join(', ') + '.'
}

/** An export that is asked for. `merge` opens it with a merged model already chosen; no `adapter`: the run's last one. */
export type ExportAsked = {
  readonly run: string
  readonly name: string
  readonly merge: boolean
  readonly adapter?: string
}

const STAGE_WORDS: Readonly<Record<string, string>> = { sft: 'after SFT', grpo: 'after GRPO' }

/** What a run trained as choices, what it ended with first. */
export const adapterOptions = (
  adapters: readonly RunAdapter[]
): { readonly value: string; readonly label: string; readonly hint?: string }[] =>
  adapters.map(({ path, stage, step }, i) => {
    const after = STAGE_WORDS[stage] ?? (stage === '' ? 'as the run ended' : `after ${stage}`)
    const label = step === null ? after : `checkpoint of step ${step}${stage === '' ? '' : `, ${stage.toUpperCase()}`}`
    return {
      value: path,
      label: label[0]!.toUpperCase() + label.slice(1),
      ...(i === 0 && step === null && stage !== '' && { hint: 'What the run ended with' })
    }
  })

/** Whether an export is of this adapter. One that named none took what its run ended with. */
export const isExportOf = (
  run: Pick<RunSummary, 'parent' | 'adapter'>,
  adapter: Adapter,
  all: readonly Adapter[]
): boolean =>
  adapter.run !== null &&
  run.parent === adapter.run &&
  (run.adapter === null ? endedWith(adapter, all) : run.adapter === adapter.path)

/** Of a run of several stages (the demo) an adapter that another of the same run went on from is not what it ended with. */
const endedWith = (adapter: Adapter, all: readonly Adapter[]): boolean =>
  !all.some((other) => other !== adapter && other.run === adapter.run && other.lineage.length > adapter.lineage.length)
