/**
 * Taking in an adapter that another program trained: a PEFT folder, or a GGUF, becomes a GGUF adapter for this base, checked
 * against node-llama-cpp. Recipes and `sample` read either kind by themselves; this is for programs that read GGUF only, and
 * to see beforehand that an adapter fits.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { dumpAdapter, loadAdapter } from '../engine/adapter.ts'
import { compareAdapter, contextFor, learnedDifference, policyAnswers } from '../engine/agreement.ts'
import { openBackend } from '../engine/backend.ts'
import { Held } from '../engine/ffi/owned.ts'
import { loadModel } from '../engine/model.ts'
import { openStock } from '../engine/stock.ts'
import type { Stock } from '../engine/stock.ts'
import { partialOf, removeAbandoned } from '../files/partial.ts'
import { REASONING_SYSTEM_MESSAGE } from '../reasoning/prompts.ts'
import { exactSentence, CHECKED_TOKENS, promptsOf } from './check-questions.ts'
import { onDisk } from './disk.ts'

export const runImport: JobFunction<'import'> = async ({ adapter: from, base, to, threads }, { emit, signal }) => {
  const goOn = (phase: string): void => {
    if (signal.aborted) throw new AppError('cancelled', 'the import was stopped; nothing was written')
    emit({ kind: 'phase', name: phase })
  }
  goOn('loading')
  if (existsSync(to)) throw new AppError('usage', `already there: ${to}`, 'Nothing was written; name another file.')
  const partial = partialOf(to)
  removeAbandoned(to)
  const held = new Held()
  let stock: Stock | undefined
  try {
    const backend = held.own(openBackend(threads === undefined ? {} : { threads }))
    const model = held.own(await loadModel(base, backend))
    const adapter = held.own(await loadAdapter(model, from))
    goOn('writing')
    onDisk(`writing ${to}`, () => mkdirSync(dirname(to), { recursive: true }))
    adapter.save(partial)

    goOn('verifying')
    const again = held.own(await loadAdapter(model, partial))
    const [one, other] = [dumpAdapter(adapter), dumpAdapter(again)]
    if (one.length !== other.length || one.some((value, i) => !Object.is(value, other[i])))
      throw new AppError('export', `${to}, read back, is not the adapter that was read`)
    const prompts = promptsOf(model, REASONING_SYSTEM_MESSAGE)
    const answers = await policyAnswers(model, adapter, prompts, CHECKED_TOKENS)
    stock = await openStock({ contextTokens: contextFor(prompts, CHECKED_TOKENS), threads: backend.threads })
    const agreement = await compareAdapter(stock, model, answers, partial)
    const check = exactSentence(agreement)
    if (!agreement.agrees)
      throw new AppError(
        'export',
        `llama.cpp with the imported adapter does not compute what the trainer does: ${check}`
      )
    const learned = learnedDifference(answers)
    onDisk(`writing ${to}`, () => renameSync(partial, to))
    return {
      to,
      r: adapter.r,
      scale: adapter.scale,
      agreement,
      learned,
      lines: [
        `imported ${basename(from)} as ${to}: rank ${adapter.r}, scale ${Number(adapter.scale.toPrecision(6))}, ${adapter.pairs.length} matrices`,
        `checked with node-llama-cpp: ${check}`,
        `it moves the base by a mean KL of ${learned.meanKl.toExponential(1)} nats per token, ${learned.sameTokens} of ${learned.tokens} greedy tokens stay the same`
      ]
    }
  } finally {
    await stock?.dispose()
    held.dispose()
    rmSync(partial, { force: true })
  }
}
