/** What lies in a run's folder: checkpoints, results, settings. A demo's folder holds several runs. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { Checkpoint, RunAdapter } from '../../shared/contract/runs.ts'
import { ADAPTER_FILE, MODEL_FILE } from '../../shared/trained-file.ts'
import type { RunRow } from '../data/store/runs.ts'

type Place = { readonly name: string; readonly folder: string; readonly from: number }

/** The folders of a run's parts, with the step each counts from: one for most runs, the stages of a demo. */
export function placesOf(row: RunRow): readonly Place[] {
  if (row.kind !== 'demo') return [{ name: '', folder: row.folder, from: 0 }]
  const stages = JSON.parse(row.stages) as Record<string, number>
  return [
    { name: 'sft', folder: join(row.folder, '2-sft'), from: stages['teaching'] ?? 0 },
    { name: 'grpo', folder: join(row.folder, '3-grpo'), from: stages['sharpening'] ?? 0 },
    { name: 'evaluate', folder: join(row.folder, '4-evaluate'), from: stages['measuring'] ?? 0 }
  ].filter(({ folder }) => existsSync(folder))
}

/** What training left in a folder; null where there is nothing yet. */
export function trainedIn(folder: string): { readonly path: string; readonly whole: boolean } | null {
  const [adapter, model] = [join(folder, ADAPTER_FILE), join(folder, MODEL_FILE)]
  if (existsSync(adapter)) return { path: adapter, whole: false }
  return existsSync(model) ? { path: model, whole: true } : null
}

export const checkpointsOf = (row: RunRow): Checkpoint[] => placesOf(row).flatMap(checkpointsIn)

function checkpointsIn({ folder, from }: Place): Checkpoint[] {
  return namesIn(folder)
    .flatMap((name) => {
      const step = /^checkpoint-(\d+)$/.exec(name)?.[1]
      const path = join(folder, name)
      if (step === undefined || !existsSync(join(path, 'manifest.json'))) return []
      const files = namesIn(path)
      const bytes = files.reduce((sum, file) => sum + statSync(join(path, file)).size, 0)
      const there = (name: string): string | null => (files.includes(name) ? join(path, name) : null)
      return [
        {
          step: Number(step) + from,
          path,
          adapter: there(ADAPTER_FILE),
          model: there(MODEL_FILE),
          bytes,
          at: Math.round(statSync(join(path, 'manifest.json')).mtimeMs)
        }
      ]
    })
    .sort((a, b) => a.step - b.step)
}

/** The adapters or models in a run's folder: what its stages ended with, the last one first, then the checkpoints, newest first. */
export function adaptersOf(row: RunRow): (RunAdapter & { readonly folder: string })[] {
  const places = placesOf(row).toReversed()
  const ended = places.flatMap(({ name, folder }) => {
    const made = trainedIn(folder)
    return made === null ? [] : [{ ...made, stage: name, step: null, folder }]
  })
  const saved = places.flatMap((place) =>
    checkpointsIn(place)
      .toReversed()
      .flatMap(({ adapter, model, step }) => {
        const path = adapter ?? model
        return path === null ? [] : [{ path, whole: adapter === null, stage: place.name, step, folder: place.folder }]
      })
  )
  return [...ended, ...saved]
}

/** The folder that holds `answers.jsonl`. */
export const answersFolder = (row: RunRow): string =>
  placesOf(row).find(({ folder }) => existsSync(join(folder, 'answers.jsonl')))?.folder ?? row.folder

/** Whether it has graded answers. */
export const measured = (row: RunRow): boolean => existsSync(join(answersFolder(row), 'answers.jsonl'))

/** Every setting of a run by its dotted path, defaults included. */
export function settingsOf(row: RunRow): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const { name, folder } of placesOf(row)) {
    const file = join(folder, 'recipe.yaml')
    if (!existsSync(file)) continue
    flatten(parse(readFileSync(file, 'utf8')), name, found)
  }
  if (found.size === 0) flatten((JSON.parse(row.input) as { input: unknown }).input, '', found)
  return found
}

function flatten(value: unknown, path: string, into: Map<string, string>): void {
  if (typeof value !== 'object' || value === null) into.set(path, String(value))
  else if (Array.isArray(value) && value.every((one) => typeof one !== 'object'))
    into.set(path, value.map(String).join(', '))
  else {
    for (const [key, one] of Object.entries(value)) flatten(one, path === '' ? key : `${path}.${key}`, into)
  }
}

const namesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : [])
