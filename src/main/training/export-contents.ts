/** What an adapter's export and a whole model's have in common: what they are given, what they hand over, how it was checked. */
import type { JobInput } from '../../shared/worker-contract.ts'
import type { AdapterAgreement } from '../engine/agreement.ts'
import type { Backend } from '../engine/backend.ts'
import type { Held } from '../engine/ffi/owned.ts'
import type { LogitDifference } from '../engine/logit-difference.ts'
import type { Model } from '../engine/model.ts'
import type { Stock } from '../engine/stock.ts'
import { REASONING_SYSTEM_MESSAGE } from '../reasoning/prompts.ts'
import { mergedSentence } from './export-merged.ts'
import type { MergedFile } from './export-merged.ts'
import { exactSentence } from './check-questions.ts'
import type { Source, TrainingRecipe } from './export-source.ts'
import type { CardSubject } from './model-card.ts'
import type { ModelfileFacts } from './modelfile.ts'

type Input = JobInput<'export'>

/** What is exported, and where to. */
export type Exporting = {
  readonly asked: Pick<Input, 'merge' | 'quantize'>
  readonly recipe: TrainingRecipe
  readonly source: Source
  /** `general.name` of models that are written. */
  readonly name: string
  /** An empty folder that becomes the target. */
  readonly stage: string
  readonly backend: Backend
  /** Disposed of when all is done. */
  readonly held: Held
  /** Stock llama.cpp for answers to these prompts; disposed of when all is done. */
  readonly stockFor: (prompts: readonly Int32Array[]) => Promise<Stock>
  /** Says what comes next; throws when the user cancelled. */
  readonly goOn: (phase: string) => void
  /** The same between parts of one phase, after a turn of the event loop. */
  readonly between: () => Promise<void>
}

export type HandedOver = {
  /** Names in the folder, and a line on each. */
  readonly files: readonly { readonly file: string; readonly about: string }[]
  readonly agreement: AdapterAgreement
  /** What training changed. */
  readonly learned: LogitDifference
  readonly merged: readonly MergedFile[]
  readonly checks: readonly string[]
  /** What else a person is told. */
  readonly notes: readonly string[]
  readonly card: CardSubject
  readonly modelfile: Pick<ModelfileFacts, 'from' | 'stop' | 'contextTokens' | 'hasChatTemplate'>
}

export const systemOf = (recipe: TrainingRecipe): string => recipe.system_message ?? REASONING_SYSTEM_MESSAGE

export const sizeWords = ({ bytes }: MergedFile, what: string): string => `${(bytes / 2 ** 20).toFixed(1)} MiB, ${what}`

/** Ollama's own default; more where the training saw more. */
const USUAL_CONTEXT = 4096

/** How a model ends its turn, what renders a prompt, and how long a context is of use. */
export function turnsOf(
  { vocabulary, config }: Model,
  recipe: TrainingRecipe
): Pick<ModelfileFacts, 'stop' | 'contextTokens' | 'hasChatTemplate'> {
  const trained = recipe.kind === 'sft' ? recipe.max_length : recipe.max_prompt_length + recipe.max_completion_length
  return {
    stop: vocabulary.eos >= 0 ? [vocabulary.text(vocabulary.eos)] : [],
    contextTokens: Math.min(config.contextLength, Math.max(USUAL_CONTEXT, trained)),
    hasChatTemplate: vocabulary.hasChatTemplate
  }
}

const FLOATING = 'F16 BF16 F32'

/** Names of models, quantised ones first. */
export const quantisedFirst = (merged: readonly MergedFile[]): string[] =>
  merged
    .slice()
    .sort((a, b) => Number(FLOATING.includes(a.type)) - Number(FLOATING.includes(b.type)))
    .map(({ file }) => file)

/** One line a file, and what the numbers are to be held against: how far training moved the base, named in words. */
export function checksOf(
  exact: { readonly file: string; readonly agreement: AdapterAgreement },
  merged: readonly MergedFile[],
  learned: LogitDifference,
  base: string
): string[] {
  const far = (it: MergedFile): string =>
    it.agreement.meanKl >= learned.meanKl ? '; rounding moved the model as far as the training did' : ''
  return [
    `${exact.file}: ${exactSentence(exact.agreement)}`,
    ...merged.map((it) => `${it.file}: ${mergedSentence(it.agreement, learned)}${far(it)}`),
    ...(merged.length > 0
      ? [
          `for comparison, ${base}: mean KL ${learned.meanKl.toExponential(1)}, ${learned.sameTokens} of ${learned.tokens} greedy tokens are the same`
        ]
      : [])
  ]
}
