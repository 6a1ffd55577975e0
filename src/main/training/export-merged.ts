/** Merged and quantised models of an export, each loaded again and held against the policy before the next is made. */
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
import { quantizeModel, writeMerged } from '../engine/merge.ts'
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
  readonly adapter: Adapter
  readonly answers: readonly PolicyAnswer[]
  readonly stock: Stock
  /** An existing folder. */
  readonly folder: string
  /** `general.name` of the merged model. */
  readonly name: string
  readonly type: MergeType
  readonly quantize: readonly Quantization[]
  /** Awaited before each piece of work, under its name, and between its parts; throws to stop. */
  readonly step: (name: string) => void
  readonly between: () => Promise<void>
}

export const mergedName = (type: MergeType | Quantization): string => `merged-${type}.gguf`

/** Writes and checks `merged-TYPE.gguf` and one file for each quantisation. Throws AppError('export') on a mismatch. */
export async function exportMerged(plan: MergePlan): Promise<MergedFile[]> {
  const { adapter, folder, type, quantize, step, between } = plan
  const merged = join(folder, mergedName(type))
  step(`merging into ${type}`)
  await writeMerged(adapter, merged, { type, name: plan.name, between })
  const files = [await checked(plan, type, true)]
  for (const quantization of quantize) {
    step(`quantising to ${quantization}`)
    await between()
    await quantizeModel(adapter.model.backend, merged, join(folder, mergedName(quantization)), quantization)
    files.push(await checked(plan, quantization, false))
  }
  return files
}

const matrixTypes = ({ tensors }: GgufInfo): number[] => [...tensors.values()].filter(isMatrix).map(({ type }) => type)

async function checked(plan: MergePlan, type: MergeType | Quantization, strict: boolean): Promise<MergedFile> {
  const { backend, info, architecture, config } = plan.adapter.model
  const file = mergedName(type)
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
