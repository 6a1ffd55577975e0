/**
 * Handing over what was trained: an adapter or a whole model, an Ollama Modelfile, a card. Written beside the target, every
 * file loaded again there and held against the policy in memory, and only then put in place.
 */
import { existsSync, mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { AnsweringSettings } from '../../shared/recipe.ts'
import type { FinetuningType } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { contextFor } from '../engine/agreement.ts'
import { openBackend } from '../engine/backend.ts'
import { Held } from '../engine/ffi/owned.ts'
import { readGguf } from '../engine/gguf.ts'
import { openStock } from '../engine/stock.ts'
import type { Stock } from '../engine/stock.ts'
import { partialOf, removeAbandoned } from '../files/partial.ts'
import { environmentRecord } from '../evaluation/environment.ts'
import { CHECKED_TOKENS, QUESTIONS } from './check-questions.ts'
import { onDisk } from './disk.ts'
import { handOverAdapter } from './export-adapter.ts'
import { systemOf } from './export-contents.ts'
import type { Exporting, HandedOver } from './export-contents.ts'
import { dataFacts, lastEvaluation, scoreFacts } from './export-facts.ts'
import { handOverModel } from './export-model.ts'
import { refuseOccupied, sourceOf, trainingRecipeOf } from './export-source.ts'
import { modelCard } from './model-card.ts'
import { modelfile } from './modelfile.ts'

const ADVICE = 'Check that the folder can be written and that the disk has room.'

const HAND_OVER: Readonly<Record<FinetuningType, (it: Exporting) => Promise<HandedOver>>> = {
  lora: handOverAdapter,
  full: handOverModel
}

export const runExport: JobFunction<'export'> = async (input, { emit, signal, runDir }) => {
  const { to, merge, quantize, scores, adapter: chosen } = input
  const goOn = (phase?: string): void => {
    if (signal.aborted) throw new AppError('cancelled', 'the export was stopped; nothing was written')
    if (phase !== undefined) emit({ kind: 'phase', name: phase })
  }
  goOn('loading')
  refuseOccupied(to)
  const recipe = trainingRecipeOf(runDir)
  const source = sourceOf(runDir, recipe, chosen)
  const measured = scores === undefined ? undefined : scoreFacts(scores, [source.path])
  const stage = partialOf(to)
  removeAbandoned(to)
  const held = new Held()
  let stock: Stock | undefined
  try {
    const backend = held.own(openBackend(recipe.threads === undefined ? {} : { threads: recipe.threads }))
    onDisk(`writing ${stage}`, () => mkdirSync(stage, { recursive: true }), ADVICE)
    const named = (await readGguf(recipe.base)).text('general.name') ?? basename(recipe.base, '.gguf')
    const made = await HAND_OVER[recipe.finetuning_type]({
      asked: { merge, quantize },
      recipe,
      source,
      name: `${named} + ${basename(runDir)}`,
      stage,
      backend,
      held,
      stockFor: async (prompts) =>
        (stock = await openStock({ contextTokens: contextFor(prompts, CHECKED_TOKENS), threads: backend.threads })),
      goOn,
      between: async () => {
        await nextTurn()
        goOn()
      }
    })

    goOn('writing the card')
    const card = modelCard({
      recipe,
      subject: made.card,
      checks: made.checks,
      data: await dataFacts(recipe),
      evaluation: lastEvaluation(runDir),
      scores: measured,
      versions: environmentRecord(backend)
    })
    const ollama = modelfile({ ...made.modelfile, system: systemOf(recipe), sampling: AnsweringSettings.parse({}) })
    onDisk(
      `writing ${to}`,
      () => {
        writeFileSync(join(stage, 'README.md'), card, { flush: true })
        writeFileSync(join(stage, 'Modelfile'), ollama, { flush: true })
        if (existsSync(to)) rmdirSync(to) // an empty folder
        mkdirSync(dirname(to), { recursive: true })
        renameSync(stage, to)
      },
      ADVICE
    )
    const { agreement, learned, merged, checks } = made
    const files = [
      ...made.files,
      { file: 'Modelfile', about: 'for Ollama' },
      { file: 'README.md', about: 'what it is, what it was trained on, how to load it' }
    ]
    return {
      to,
      source: source.path,
      files: files.map(({ file }) => file),
      agreement,
      learned,
      merged,
      lines: [
        `exported ${source.name} to ${to}`,
        ...fileLines(files),
        `loaded again with node-llama-cpp and compared on ${QUESTIONS.length} questions:`,
        ...checks.map((line) => `  ${line}`),
        ...made.notes,
        ...source.notes
      ]
    }
  } finally {
    await stock?.dispose()
    held.dispose()
    rmSync(stage, { recursive: true, force: true })
  }
}

/** One aligned line per file. */
function fileLines(files: HandedOver['files']): string[] {
  const wide = Math.max(...files.map(({ file }) => file.length))
  return files.map(({ file, about }) => `  ${file.padEnd(wide)}  ${about}`)
}
