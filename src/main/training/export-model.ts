/**
 * A model of which every weight was trained, handed over: as it is, in F32, and on request in smaller types. There is no
 * adapter and no PEFT folder: what changed is as large as the model.
 */
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { MODEL_FILE } from '../../shared/trained-file.ts'
import { compareExactly, learnedDifference, modelAnswers } from '../engine/agreement.ts'
import { architectureOf } from '../engine/arch/index.ts'
import { deriveGguf } from '../engine/derived-gguf.ts'
import { readGguf } from '../engine/gguf.ts'
import { loadModel } from '../engine/model.ts'
import { CHECKED_TOKENS, exactSentence, promptsOf } from './check-questions.ts'
import { checksOf, quantisedFirst, sizeWords, systemOf, turnsOf } from './export-contents.ts'
import type { Exporting, HandedOver } from './export-contents.ts'
import { fileFacts } from './export-facts.ts'
import { exportQuantised, exportTyped } from './export-merged.ts'
import { modelSubject } from './model-card-subjects.ts'

export async function handOverModel(it: Exporting): Promise<HandedOver> {
  const { asked, recipe, source, stage, backend, goOn, between } = it
  const path = join(stage, MODEL_FILE)
  let turns: ReturnType<typeof turnsOf> | undefined
  const answers = await modelAnswers(
    { policy: () => loadModel(source.path, backend), base: () => loadModel(recipe.base, backend) },
    (policy) => {
      turns = turnsOf(policy, recipe)
      return promptsOf(policy, systemOf(recipe))
    },
    CHECKED_TOKENS
  )
  const learned = learnedDifference(answers)
  const stock = await it.stockFor(answers.map(({ prompt }) => prompt))

  goOn('writing the model')
  const values = { 'general.name': { kind: 'text', value: it.name } } as const
  await deriveGguf({ from: source.path, to: path, values, patches: [] })
  goOn('verifying the model')
  const agreement = await compareExactly(stock, answers, { path }, recipe.base)
  if (!agreement.agrees) {
    throw new AppError(
      'export',
      `llama.cpp with the exported model does not compute what was trained: ${exactSentence(agreement)}`,
      'Nothing was written. This is a bug; please report it.'
    )
  }

  const info = await readGguf(path)
  const model = { backend, info, ...architectureOf(info) }
  const plan = { model, adapter: null, answers, stock, folder: stage, name: it.name, step: goOn, between }
  const type = asked.merge === 'auto' || asked.merge === 'F32' ? undefined : asked.merge
  const merged = [
    ...(type === undefined ? [] : [await exportTyped(plan, type)]),
    ...(await exportQuantised(plan, MODEL_FILE, asked.quantize))
  ]
  const whole = await fileFacts(path)
  return {
    files: [
      {
        file: MODEL_FILE,
        about: `${(whole.bytes / 2 ** 20).toFixed(1)} MiB, the whole model in F32: it needs no base`
      },
      ...merged.map((one) => ({ file: one.file, about: sizeWords(one, 'the whole model') }))
    ],
    agreement,
    learned,
    merged,
    checks: checksOf({ file: MODEL_FILE, agreement }, merged, learned, 'the base before the training'),
    notes: ['no adapter and no PEFT folder: every weight was trained, so that what changed is as large as the model'],
    card: modelSubject({ recipe, info, model: whole, base: await fileFacts(recipe.base), merged, source: source.name }),
    modelfile: { ...turns!, from: { models: [...quantisedFirst(merged), MODEL_FILE] } }
  }
}
