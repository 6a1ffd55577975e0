/**
 * Handing over what was trained: the adapter as GGUF for llama.cpp and as a PEFT folder for Transformers; on request merged
 * into its base, and quantised; an Ollama Modelfile; a card. Written beside the target, every file loaded again there and
 * held against the policy in memory, and only then put in place.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { AnsweringSettings } from '../../shared/recipe.ts'
import type { GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { parseRecipe } from '../data/prepare/recipe-file.ts'
import { dumpAdapter, loadAdapter } from '../engine/adapter.ts'
import type { Adapter } from '../engine/adapter.ts'
import { compareAdapter, contextFor, learnedDifference, policyAnswers } from '../engine/agreement.ts'
import type { AdapterAgreement } from '../engine/agreement.ts'
import { openBackend } from '../engine/backend.ts'
import { Held } from '../engine/ffi/owned.ts'
import { usualMergeType } from '../engine/merge.ts'
import { loadModel } from '../engine/model.ts'
import type { LogitDifference } from '../engine/logit-difference.ts'
import type { Model } from '../engine/model.ts'
import { writePeft } from '../engine/peft.ts'
import { openStock } from '../engine/stock.ts'
import type { Stock } from '../engine/stock.ts'
import { partialOf, removeAbandoned } from '../files/partial.ts'
import { environmentRecord } from '../evaluation/environment.ts'
import { REASONING_SYSTEM_MESSAGE } from '../reasoning/prompts.ts'
import { adapterSentence, CHECKED_TOKENS, promptsOf, QUESTIONS } from './check-questions.ts'
import { bestCheckpoint, latestCheckpoint } from './checkpoint.ts'
import { onDisk } from './disk.ts'
import { dataFacts, fileFacts, lastEvaluation, scoreFacts } from './export-facts.ts'
import { exportMerged, mergedName, mergedSentence } from './export-merged.ts'
import type { MergedFile } from './export-merged.ts'
import { modelCard } from './model-card.ts'
import { modelfile } from './modelfile.ts'
import { deriveBase, ROWS_BASE } from './token-rows.ts'

/** Ollama's own default; more where the training saw more. */
const USUAL_CONTEXT = 4096
const ADVICE = 'Check that the folder can be written and that the disk has room.'

type TrainingRecipe = SftRecipe | GrpoRecipe

export const runExport: JobFunction<'export'> = async (input, { emit, signal, runDir }) => {
  const { to, merge, quantize, scores, adapter: chosen } = input
  const goOn = (phase?: string): void => {
    if (signal.aborted) throw new AppError('cancelled', 'the export was stopped; nothing was written')
    if (phase !== undefined) emit({ kind: 'phase', name: phase })
  }
  goOn('loading')
  refuseOccupied(to)
  const recipe = recipeOf(runDir)
  const source = chosen === undefined ? trainedAdapter(runDir) : chosenAdapter(runDir, chosen)
  const measured = scores === undefined ? undefined : scoreFacts(scores, [source.path])
  const stage = partialOf(to)
  removeAbandoned(to)
  const held = new Held()
  let stock: Stock | undefined
  try {
    const backend = held.own(openBackend(recipe.threads === undefined ? {} : { threads: recipe.threads }))
    onDisk(`writing ${stage}`, () => mkdirSync(join(stage, 'peft'), { recursive: true }), ADVICE)
    const trainsRows = recipe.lora.trainable_token_indices.length > 0
    const base = trainsRows ? join(stage, ROWS_BASE) : recipe.base
    if (trainsRows) await deriveBase(recipe.base, recipe.lora, dirname(source.path), base, backend)
    const model = held.own(await loadModel(base, backend))
    const adapter = held.own(await loadAdapter(model, source.path))
    const prompts = promptsOf(model, systemOf(recipe))
    const answers = await policyAnswers(model, adapter, prompts, CHECKED_TOKENS)
    const learned = learnedDifference(answers)
    stock = await openStock({ contextTokens: contextFor(prompts, CHECKED_TOKENS), threads: backend.threads })

    goOn('writing the adapter')
    adapter.save(join(stage, 'adapter.gguf'))
    writePeft(adapter, join(stage, 'peft'), basename(base))
    goOn('verifying the adapter')
    await verifyPeft(model, adapter, join(stage, 'peft'))
    const agreement = await compareAdapter(stock, model, answers, join(stage, 'adapter.gguf'))
    if (!agreement.agrees) {
      throw new AppError(
        'export',
        `llama.cpp with the exported adapter does not compute what was trained: ${adapterSentence(agreement)}`,
        'Nothing was written. This is a bug, or the base file changed since the run; please report it.'
      )
    }

    const type = merge === 'auto' || merge === undefined ? usualMergeType(adapter) : merge
    const name = `${model.info.text('general.name') ?? basename(recipe.base, '.gguf')} + ${basename(runDir)}`
    const between = async (): Promise<void> => {
      await nextTurn()
      goOn()
    }
    const plan = { adapter, answers, stock, folder: stage, name, type, quantize, step: goOn, between }
    const made = merge === undefined && quantize.length === 0 ? [] : await exportMerged(plan)
    const merged = merge === undefined ? made.filter((it) => it.type !== type) : made
    if (merge === undefined) rmSync(join(stage, mergedName(type)), { force: true }) // only quantised files were asked for

    goOn('writing the card')
    const checks = checksOf(agreement, merged, learned)
    const card = modelCard({
      recipe,
      adapter,
      source: source.name,
      checks,
      base: await fileFacts(base),
      merged,
      data: await dataFacts(recipe),
      evaluation: lastEvaluation(runDir),
      scores: measured,
      versions: environmentRecord(backend)
    })
    onDisk(
      `writing ${to}`,
      () => {
        writeFileSync(join(stage, 'README.md'), card, { flush: true })
        writeFileSync(join(stage, 'Modelfile'), modelfileOf(model, recipe, merged), { flush: true })
        if (existsSync(to)) rmdirSync(to) // an empty folder
        mkdirSync(dirname(to), { recursive: true })
        renameSync(stage, to)
      },
      ADVICE
    )
    return {
      to,
      source: source.path,
      files: [
        ...(trainsRows ? [ROWS_BASE] : []),
        'adapter.gguf',
        'peft/adapter_config.json',
        'peft/adapter_model.safetensors',
        ...merged.map(({ file }) => file),
        'Modelfile',
        'README.md'
      ],
      agreement,
      learned,
      merged,
      lines: [
        `exported ${source.name} to ${to}`,
        ...(trainsRows ? [`  ${ROWS_BASE}     the base with the trained rows; the adapter belongs to it`] : []),
        '  adapter.gguf  for llama.cpp and node-llama-cpp, with the base',
        '  peft/         for PEFT and Transformers',
        ...merged.map(({ file, bytes }) => `  ${file}  ${(bytes / 2 ** 20).toFixed(1)} MiB, base and adapter in one`),
        '  Modelfile     for Ollama',
        '  README.md     what it is, what it was trained on, how to load it',
        `loaded again with node-llama-cpp and compared on ${QUESTIONS.length} questions:`,
        ...checks.map((line) => `  ${line}`),
        ...source.notes
      ]
    }
  } finally {
    await stock?.dispose()
    held.dispose()
    rmSync(stage, { recursive: true, force: true })
  }
}

const systemOf = (recipe: TrainingRecipe): string => recipe.system_message ?? REASONING_SYSTEM_MESSAGE

function refuseOccupied(to: string): void {
  if (!existsSync(to)) return
  let names: string[]
  try {
    names = readdirSync(to)
  } catch {
    throw new AppError('usage', `${to} is a file`, 'Name a folder that does not exist yet.')
  }
  if (names.length > 0) throw new AppError('usage', `${to} is not empty`, 'Name a folder that does not exist yet.')
}

function recipeOf(runDir: string): TrainingRecipe {
  const path = join(runDir, 'recipe.yaml')
  if (!existsSync(path)) throw new AppError('usage', `${runDir} is not the folder of a run: it has no recipe.yaml`)
  const { recipe } = parseRecipe(readFileSync(path, 'utf8'), path)
  if (recipe.kind !== 'evaluate') return recipe
  throw new AppError(
    'usage',
    `${runDir} holds an evaluation, which trains nothing`,
    'Name the folder of a training run.'
  )
}

type Source = { readonly path: string; readonly name: string; readonly notes: readonly string[] }

/** The finished run's adapter; of a run that did not finish, its best checkpoint by held-out score, or its latest. */
function trainedAdapter(runDir: string): Source {
  const run = basename(runDir)
  const best = bestCheckpoint(runDir)
  const finished = join(runDir, 'adapter.gguf')
  if (existsSync(finished)) {
    const notes = best ? [`the best checkpoint by held-out score is of step ${best.manifest.step}: ${best.path}`] : []
    return { path: finished, name: `the adapter of ${run}`, notes }
  }
  const checkpoint = best ?? latestCheckpoint(runDir).checkpoint
  if (!checkpoint)
    throw new AppError(
      'usage',
      `${runDir} holds neither an adapter nor a checkpoint`,
      'Let the run reach its first checkpoint.'
    )
  const which = best ? 'best' : 'latest'
  return {
    path: join(checkpoint.path, 'adapter.gguf'),
    name: `the ${which} checkpoint of ${run}, step ${checkpoint.manifest.step}`,
    notes: ['the run is not finished']
  }
}

/** One that was asked for: of the run's folder, or of a checkpoint in it. */
function chosenAdapter(runDir: string, path: string): Source {
  const inside = relative(runDir, path)
  const step = /^checkpoint-(\d+)[\\/]adapter\.gguf$/.exec(inside)?.[1]
  if (step === undefined && inside !== 'adapter.gguf')
    throw new AppError('usage', `${path} is no adapter of ${runDir}`, 'Name one that lies in the folder of the run.')
  if (!existsSync(path)) throw new AppError('usage', `there is no such file: ${path}`, 'Look at the run again.')
  const run = basename(runDir)
  const name = step === undefined ? `the adapter of ${run}` : `the checkpoint of ${run}, step ${step}`
  return { path, name, notes: [] }
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

function modelfileOf({ vocabulary, config }: Model, recipe: TrainingRecipe, merged: readonly MergedFile[]): string {
  const trained = recipe.kind === 'sft' ? recipe.max_length : recipe.max_prompt_length + recipe.max_completion_length
  const quantised = merged
    .slice()
    .sort((a, b) => Number('F16 BF16 F32'.includes(a.type)) - Number('F16 BF16 F32'.includes(b.type)))
  return modelfile({
    models: quantised.map(({ file }) => file),
    base: basename(recipe.base),
    adapter: 'adapter.gguf',
    system: systemOf(recipe),
    stop: vocabulary.eos >= 0 ? [vocabulary.text(vocabulary.eos)] : [],
    sampling: AnsweringSettings.parse({}),
    contextTokens: Math.min(config.contextLength, Math.max(USUAL_CONTEXT, trained)),
    hasChatTemplate: vocabulary.hasChatTemplate
  })
}

/** One line a file, and what the numbers are to be held against: how far training moved the base. */
function checksOf(agreement: AdapterAgreement, merged: readonly MergedFile[], learned: LogitDifference): string[] {
  const far = (it: MergedFile): string =>
    it.agreement.meanKl >= learned.meanKl ? '; rounding moved the model as far as the training did' : ''
  return [
    `adapter.gguf: ${adapterSentence(agreement)}`,
    ...merged.map((it) => `${it.file}: ${mergedSentence(it.agreement, learned)}${far(it)}`),
    ...(merged.length > 0
      ? [
          `for comparison, the base without the adapter: mean KL ${learned.meanKl.toExponential(1)}, ${learned.sameTokens} of ${learned.tokens} greedy tokens are the same`
        ]
      : [])
  ]
}
