/** An adapter handed over: as GGUF for llama.cpp and as a PEFT folder; on request merged into its base, and quantised. */
import { mkdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { ADAPTER_FILE } from '../../shared/trained-file.ts'
import { dumpAdapter, loadAdapter } from '../engine/adapter.ts'
import type { Adapter } from '../engine/adapter.ts'
import { compareAdapter, learnedDifference, policyAnswers } from '../engine/agreement.ts'
import { usualMergeType } from '../engine/merge.ts'
import { loadModel } from '../engine/model.ts'
import type { Model } from '../engine/model.ts'
import { writePeft } from '../engine/peft.ts'
import { CHECKED_TOKENS, exactSentence, promptsOf } from './check-questions.ts'
import { onDisk } from './disk.ts'
import { checksOf, quantisedFirst, sizeWords, systemOf, turnsOf } from './export-contents.ts'
import type { Exporting, HandedOver } from './export-contents.ts'
import { fileFacts } from './export-facts.ts'
import { exportQuantised, exportTyped, typedName } from './export-merged.ts'
import { adapterSubject } from './model-card-subjects.ts'
import { deriveBase, ROWS_BASE } from './token-rows.ts'

export async function handOverAdapter(it: Exporting): Promise<HandedOver> {
  const { asked, recipe, source, stage, backend, held, goOn } = it
  onDisk(`writing ${stage}`, () => mkdirSync(join(stage, 'peft')))
  const trainsRows = recipe.lora.trainable_token_indices.length > 0
  const base = trainsRows ? join(stage, ROWS_BASE) : recipe.base
  if (trainsRows) await deriveBase(recipe.base, recipe.lora, dirname(source.path), base, backend)
  const model = held.own(await loadModel(base, backend))
  const adapter = held.own(await loadAdapter(model, source.path))
  const prompts = promptsOf(model, systemOf(recipe))
  const answers = await policyAnswers(model, adapter, prompts, CHECKED_TOKENS)
  const learned = learnedDifference(answers)
  const stock = await it.stockFor(prompts)

  goOn('writing the adapter')
  adapter.save(join(stage, ADAPTER_FILE))
  writePeft(adapter, join(stage, 'peft'), basename(base))
  goOn('verifying the adapter')
  await verifyPeft(model, adapter, join(stage, 'peft'))
  const agreement = await compareAdapter(stock, model, answers, join(stage, ADAPTER_FILE))
  if (!agreement.agrees) {
    throw new AppError(
      'export',
      `llama.cpp with the exported adapter does not compute what was trained: ${exactSentence(agreement)}`,
      'Nothing was written. This is a bug, or the base file changed since the run; please report it.'
    )
  }

  const plan = { model, adapter, answers, stock, folder: stage, name: it.name, step: goOn, between: it.between }
  const type = asked.merge === 'auto' || asked.merge === undefined ? usualMergeType(adapter) : asked.merge
  const wanted = asked.merge !== undefined || asked.quantize.length > 0
  const whole = wanted ? [await exportTyped(plan, type)] : []
  const quantised = await exportQuantised(plan, typedName(plan, type), asked.quantize)
  if (asked.merge === undefined) rmSync(join(stage, typedName(plan, type)), { force: true }) // only quantised files were asked for
  const merged = asked.merge === undefined ? quantised : [...whole, ...quantised]
  return {
    files: [
      ...(trainsRows ? [{ file: ROWS_BASE, about: 'the base with the trained rows; the adapter belongs to it' }] : []),
      { file: ADAPTER_FILE, about: 'for llama.cpp and node-llama-cpp, with the base' },
      { file: 'peft/adapter_config.json', about: 'for PEFT and Transformers' },
      { file: 'peft/adapter_model.safetensors', about: 'the same' },
      ...merged.map((one) => ({ file: one.file, about: sizeWords(one, 'base and adapter in one') }))
    ],
    agreement,
    learned,
    merged,
    checks: checksOf({ file: ADAPTER_FILE, agreement }, merged, learned, 'the base without the adapter'),
    notes: [],
    card: adapterSubject({ recipe, adapter, base: await fileFacts(base), merged, source: source.name }),
    modelfile: {
      ...turnsOf(model, recipe),
      from:
        merged.length > 0 ? { models: quantisedFirst(merged) } : { base: basename(recipe.base), adapter: ADAPTER_FILE }
    }
  }
}

/** The PEFT files, read back and turned into llama.cpp's order again, are the adapter bit by bit. */
async function verifyPeft(model: Model, adapter: Adapter, folder: string): Promise<void> {
  const readBack = await loadAdapter(model, folder)
  try {
    const [one, other] = [dumpAdapter(adapter), dumpAdapter(readBack)]
    const scaled = Math.abs(adapter.scale - readBack.scale) <= 1e-6 * adapter.scale
    if (scaled && one.length === other.length && one.every((value, i) => Object.is(value, other[i]))) return
    throw new AppError('export', 'the PEFT files, read back, are not the adapter that was trained')
  } finally {
    readBack.dispose()
  }
}
