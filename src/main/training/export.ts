/**
 * Handing over what was trained: the adapter as GGUF for llama.cpp and as a PEFT folder for Transformers, with a short card.
 * Written beside the target, checked there against the policy in memory, and only then put in place.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { parseRecipe } from '../data/prepare/recipe-file.ts'
import { dumpAdapter, loadAdapter } from '../engine/adapter.ts'
import type { Adapter } from '../engine/adapter.ts'
import { compareWithStock } from '../engine/agreement.ts'
import type { Agreement } from '../engine/agreement.ts'
import { openBackend } from '../engine/backend.ts'
import { loadModel } from '../engine/model.ts'
import type { Model } from '../engine/model.ts'
import { writePeft } from '../engine/peft.ts'
import { bestCheckpoint, latestCheckpoint } from './checkpoint.ts'
import { modelCard } from './model-card.ts'
import { deriveBase, ROWS_BASE } from './token-rows.ts'

/** Tokens of the greedy answer that the exported adapter is checked with. */
const CHECKED_TOKENS = 32
const QUESTION = 'Tom has 17 boxes with 23 pencils each and gives 40 pencils away. How many pencils are left?'

type TrainingRecipe = SftRecipe | GrpoRecipe

export const runExport: JobFunction<'export'> = async ({ to }, { emit, signal, runDir }) => {
  const goOn = (phase: string): void => {
    if (signal.aborted) throw new AppError('cancelled', 'the export was stopped; nothing was written')
    emit({ kind: 'phase', name: phase })
  }
  goOn('loading')
  refuseOccupied(to)
  const recipe = recipeOf(runDir)
  const source = trainedAdapter(runDir)
  const backend = openBackend(recipe.threads === undefined ? {} : { threads: recipe.threads })
  const stage = `${to}.${process.pid}.partial`
  let model: Model | undefined
  let adapter: Adapter | undefined
  try {
    onDisk(`writing ${stage}`, () => mkdirSync(join(stage, 'peft'), { recursive: true }))
    const trainsRows = recipe.lora.trainable_token_indices.length > 0
    const base = trainsRows ? join(stage, ROWS_BASE) : recipe.base
    if (trainsRows) await deriveBase(recipe.base, recipe.lora, dirname(source.path), base, backend)
    model = await loadModel(base, backend)
    adapter = await loadAdapter(model, source.path)

    goOn('writing')
    adapter.save(join(stage, 'adapter.gguf'))
    writePeft(adapter, join(stage, 'peft'), basename(base))

    goOn('verifying')
    await verifyPeft(model, adapter, join(stage, 'peft'))
    const prompt = questionTokens(model)
    const agreement = await compareWithStock(model, adapter, join(stage, 'adapter.gguf'), prompt, CHECKED_TOKENS)
    if (!agreement.agrees) {
      throw new AppError(
        'export',
        `llama.cpp with the exported adapter does not compute what was trained: ${sentence(agreement)}`,
        'Nothing was written. This is a bug, or the base file changed since the run; please report it.'
      )
    }
    const card = modelCard({ recipe: { ...recipe, base }, adapter, source: source.name, check: sentence(agreement) })
    onDisk(`writing ${to}`, () => {
      writeFileSync(join(stage, 'README.md'), card, { flush: true })
      if (existsSync(to)) rmdirSync(to) // an empty folder
      mkdirSync(dirname(to), { recursive: true })
      renameSync(stage, to)
    })
    return {
      to,
      source: source.path,
      files: [
        ...(trainsRows ? [ROWS_BASE] : []),
        'adapter.gguf',
        'peft/adapter_config.json',
        'peft/adapter_model.safetensors',
        'README.md'
      ],
      agreement,
      lines: [
        `exported ${source.name} to ${to}`,
        ...(trainsRows ? [`  ${ROWS_BASE}     the base with the trained rows; the adapter belongs to it`] : []),
        '  adapter.gguf  for llama.cpp and node-llama-cpp',
        '  peft/         for PEFT and Transformers',
        '  README.md     what it is and how to load it',
        `checked with node-llama-cpp: ${sentence(agreement)}`,
        ...source.notes
      ]
    }
  } finally {
    adapter?.dispose()
    model?.dispose()
    backend.dispose()
    rmSync(stage, { recursive: true, force: true })
  }
}

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

/** A question as this base is asked one. */
function questionTokens({ vocabulary, info }: Model): Int32Array {
  const asked = info.text('tokenizer.chat_template') !== undefined
  const text = asked
    ? vocabulary.render([{ role: 'user', content: QUESTION }], { addGenerationPrompt: true })
    : QUESTION
  return vocabulary.tokenize(text, { special: asked })
}

function sentence({ tokens, sameTokens, largest, mean, baseLargest, bound }: Agreement): string {
  const numbers = `${sameTokens} of ${tokens} greedy tokens are the same, raw logits differ by at most ${largest.toExponential(1)} (mean ${mean.toExponential(1)}, bound ${bound.toExponential(1)})`
  const kernels = `; without any adapter the base alone differs by ${baseLargest.toExponential(1)} between the two programs' kernels`
  return baseLargest > 0 ? numbers + kernels : numbers
}

function onDisk(what: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    throw new AppError(
      'disk',
      `${what} failed: ${(cause as Error).message}`,
      'Check that the folder can be written and that the disk has room.',
      { cause }
    )
  }
}
