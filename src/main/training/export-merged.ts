/** Models of an export in other types, merged where an adapter was trained, each loaded again and held against the policy before the next is made. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { MergeType, Quantization } from '../../shared/export-types.ts'
import type { Adapter } from '../engine/adapter.ts'
import { compareMerged } from '../engine/agreement.ts'
import type { MergedAgreement, PolicyAnswer } from '../engine/agreement.ts'
import { Held } from '../engine/ffi/owned.ts'
import { readGguf } from '../engine/gguf.ts'
import type { GgufInfo } from '../engine/gguf.ts'
import { quantizeModel, writeInType } from '../engine/merge.ts'
import type { Model } from '../engine/model.ts'
import type { LogitDifference } from '../engine/logit-difference.ts'
import type { Stock } from '../engine/stock.ts'
import { compareWeights, isMatrix, WeightRows } from '../engine/weight-rows.ts'

export type MergedFile = {
  readonly file: string
  readonly type: MergeType | Quantization
  readonly bytes: number
  /** Relative rms error of its matrices against base plus adapter. */
  readonly weightError: number
  readonly agreement: MergedAgreement
}

export type MergePlan = {
  /** What the answers are of, by its file: a base with the adapter, or a model alone. */
  readonly model: Pick<Model, 'backend' | 'info' | 'architecture' | 'config'>
  readonly adapter: Adapter | null
  readonly answers: readonly PolicyAnswer[]
  readonly stock: Stock
  /** An existing folder. */
  readonly folder: string
  /** `general.name` of what is written. */
  readonly name: string
  /** Awaited before each piece of work, under its name, and between its parts; throws to stop. */
  readonly step: (name: string) => void
  readonly between: () => Promise<void>
}

/** `merged-Q8_0.gguf`, or `model-Q8_0.gguf` of a model alone. */
export const typedName = ({ adapter }: Pick<MergePlan, 'adapter'>, type: MergeType | Quantization): string =>
  `${adapter ? 'merged' : 'model'}-${type}.gguf`

/** Writes and checks the model in a floating-point type. Throws AppError('export') on a mismatch. */
export async function exportTyped(plan: MergePlan, type: MergeType): Promise<MergedFile> {
  const { model, adapter, folder, step, between } = plan
  step(`${adapter ? 'merging' : 'writing'} into ${type}`)
  await writeInType(model, adapter, join(folder, typedName(plan, type)), { type, name: plan.name, between })
  return checked(plan, type, true)
}

/** Writes and checks one file for each quantisation of a file in the folder. Throws AppError('export') on a mismatch. */
export async function exportQuantised(
  plan: MergePlan,
  from: string,
  quantize: readonly Quantization[]
): Promise<MergedFile[]> {
  const files: MergedFile[] = []
  for (const quantization of quantize) {
    plan.step(`quantising to ${quantization}`)
    await plan.between()
    const to = join(plan.folder, typedName(plan, quantization))
    await quantizeModel(plan.model.backend, join(plan.folder, from), to, quantization)
    files.push(await checked(plan, quantization, false))
  }
  return files
}

const matrixTypes = ({ tensors }: GgufInfo): number[] => [...tensors.values()].filter(isMatrix).map(({ type }) => type)

async function checked(plan: MergePlan, type: MergeType | Quantization, strict: boolean): Promise<MergedFile> {
  const { backend, info, architecture, config } = plan.model
  const file = typedName(plan, type)
  const path = join(plan.folder, file)
  plan.step(`verifying ${type}`)
  const written = await readGguf(path)
  const held = new Held()
  try {
    const exact = held.own(new WeightRows(backend, info, plan.adapter))
    const stored = held.own(new WeightRows(backend, written))
    const { relative } = await compareWeights(exact, stored, plan.between)
    const rounding = {
      weights: relative,
      types: matrixTypes(written),
      baseTypes: matrixTypes(info),
      depth: Object.keys(architecture.linears).length * config.layers + 1
    }
    const agreement = await compareMerged(plan.stock, plan.answers, path, rounding, strict)
    if (!agreement.agrees) throw disagreement(file, agreement, strict)
    return { file, type, bytes: statSync(path).size, weightError: relative, agreement }
  } finally {
    held.dispose()
  }
}

function disagreement(file: string, agreement: MergedAgreement, merged: boolean): AppError {
  return new AppError(
    'export',
    `${file}, loaded again, is not the model that was trained: ${mergedSentence(agreement)}`,
    merged
      ? 'Nothing was written. This is a bug, or the base file changed since the run; please report it.'
      : 'Nothing was written. Name a larger type, such as Q4_K_M or Q8_0; small models lose most by few bits.'
  )
}

const short = (value: number): string => (value === 0 ? '0' : value.toExponential(1))

/** Where the training moved the model less than this many times as far as rounding does, what it carries says little. */
const FAINT = 5

/** What was compared and found, in words; beside what the training changed, where that is known. */
export function mergedSentence(agreement: MergedAgreement, learned?: LogitDifference): string {
  const { meanKl, bound, tokens, sameTokens, sameFirst, largest, carried } = agreement
  const isFaint = learned !== undefined && learned.meanKl < FAINT * meanKl
  return [
    `mean KL ${short(meanKl)} nats per token (bound ${short(bound)})`,
    `${sameTokens} of ${tokens} greedy tokens are the same (the first ${sameFirst.join(', ')} of each answer)`,
    `logits differ by at most ${short(largest)}`,
    ...(carried === null || isFaint ? [] : [`it carries ${(100 * carried).toFixed(0)} % of what the training changed`])
  ].join(', ')
}
