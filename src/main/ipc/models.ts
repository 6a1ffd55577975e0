/** GGUF files where they already lie, and adapters with the line they descend from. */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { AdapterFile, ModelFile } from '../../shared/contract/models.ts'
import { ADAPTER_FILE } from '../../shared/trained-file.ts'
import { readHeader } from '../data/models/header.ts'
import type { HeaderFacts } from '../data/models/header.ts'
import { places, scan } from '../data/models/scan.ts'
import type { FoundFile } from '../data/models/scan.ts'
import type { RunRow } from '../data/store/runs.ts'
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { bundledBase } from './recipe-presets.ts'
import { placesOf, trainedIn } from './run-folder.ts'
import { newJob } from './run-start.ts'
import { summaryOf } from './run-summary.ts'

type Known = { readonly stamp: string; readonly facts: HeaderFacts | null; readonly problem: string | null }

export function modelCalls(host: Host): Calls<'models'> {
  const { store } = host
  /** Headers that were read, by path; a file that changes is read again. Kept over restarts: vocabularies are long. */
  let known: Record<string, Known> | null = null
  const factsOf = async (file: FoundFile): Promise<Known> => {
    known ??= store.settings.get<Record<string, Known>>(FACTS, {})
    const stamp = `${file.bytes}/${file.modifiedAt}/${FACTS_VERSION}`
    const before = known[file.path]
    if (before?.stamp === stamp) return before
    let read: Known
    try {
      read = { stamp, facts: (await readHeader(file.path)).facts, problem: null }
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      read = { stamp, facts: null, problem: error.message }
    }
    known[file.path] = read
    store.settings.set(FACTS, known)
    return read
  }
  const bundled = (): FoundFile[] => {
    const path = bundledBase()
    return path === null ? [] : [fileAt(path, 'Reasonsmith’s own small base', 'bundled')]
  }
  const found = (): FoundFile[] => [
    ...bundled(),
    ...scan(places([host.at('models'), host.at('exports')], host.settings().modelFolders))
  ]

  return {
    list: async () => {
      const own = trainedByRuns(host)
      const models = own.filter(({ whole }) => whole).map(({ path, name }) => fileAt(path, name, 'trained here'))
      // a run's own model may also lie in a folder that is searched
      const files = [...found().filter(({ path }) => !models.some((model) => model.path === path)), ...models]
      const read: { file: FoundFile; known: Known }[] = []
      for (const file of files) read.push({ file, known: await factsOf(file) })
      const loose = read
        .filter(
          ({ known: { facts }, file }) => facts?.kind === 'adapter' && !own.some(({ path }) => path === file.path)
        )
        .map(({ file }) => ({
          path: file.path,
          whole: false,
          name: file.name,
          bytes: file.bytes,
          run: null,
          base: null,
          lineage: [file.name]
        }))
      return {
        models: read.filter((one) => one.known.facts?.kind !== 'adapter').map((one) => modelOf(one.file, one.known)),
        adapters: [...own, ...loose],
        folders: places([host.at('models')], host.settings().modelFolders)
          .map(({ folder }) => folder)
          .filter((folder) => existsSync(folder))
      }
    },
    inspect: async ({ path }) => {
      if (!existsSync(path)) throw new AppError('model', `there is no such file: ${path}`, 'Look at the list again.')
      const trained = (): FoundFile | undefined => {
        const made = trainedByRuns(host).find((one) => one.path === path)
        return made && fileAt(path, made.name, 'trained here')
      }
      const file =
        found().find((one) => one.path === path) ?? trained() ?? fileAt(path, basename(path, '.gguf'), dirname(path))
      const { details } = await readHeader(path)
      return { model: modelOf(file, await factsOf(file)), ...(await details()) }
    },
    download: ({ from }) => {
      const name =
        from
          .trim()
          .replace(/[?#].*$/, '')
          .split('/')
          .at(-1) || from
      const run = host.queue.add(
        newJob(host, 'download', { from, to: host.at('models') }, { name: `Download ${name}`, slug: 'download' })
      )
      return { run: summaryOf(host, run).id }
    }
  }
}

const FACTS = 'modelHeaders'
/** Grows when `readHeader` finds out something new: what an earlier version kept is read again. */
const FACTS_VERSION = 2

function fileAt(path: string, name: string, source: string): FoundFile {
  const { size, mtimeMs } = statSync(path)
  return { path, name, source, bytes: size, modifiedAt: Math.round(mtimeMs) }
}

/** Above this share of what is free a run is tight: the plan's own limit. */
const COMFORTABLE = 0.8

function modelOf(file: FoundFile, { facts, problem }: Known): ModelFile {
  const free = process.availableMemory()
  const need = facts?.needBytes ?? null
  const verdict = need === null ? 'unknown' : need <= COMFORTABLE * free ? 'fits' : need <= free ? 'tight' : 'no'
  return {
    ...file,
    architecture: facts?.architecture ?? null,
    parameters: facts?.parameters ?? null,
    quantisation: facts?.quantisation ?? null,
    contextLength: facts?.contextLength ?? null,
    support: { trainable: facts?.trainable ?? false, reason: facts?.reason ?? problem ?? 'its header cannot be read' },
    template: { present: facts?.hasTemplate ?? false, verdict: facts?.templateVerdict ?? 'unknown' },
    fits: { verdict, needBytes: need },
    problem
  }
}

/** The adapters and models that runs left, newest first, each with the names from its base to itself. */
function trainedByRuns(host: Host): AdapterFile[] {
  const { rows } = host.store.runs.list({ offset: 0, limit: 10_000, search: '', trashed: false })
  const made = rows.flatMap((row) =>
    placesOf(row).flatMap(({ name, folder }) => {
      const trained = trainedIn(folder)
      if (trained === null) return []
      return [
        {
          row,
          ...trained,
          stage: name,
          from: startOf(row, name),
          base: row.kind === 'demo' ? join(row.folder, 'base.gguf') : row.base
        }
      ]
    })
  )
  const byPath = new Map(made.map((one) => [one.path, one]))
  type Made = (typeof made)[number]
  const label = ({ row, stage }: Made): string => (stage === '' ? row.name : `${row.name}: ${stage}`)
  const lineage = (one: Made, seen: readonly string[] = []): string[] => {
    // from an adapter, or on top of a model that was trained whole
    const start = one.from ?? one.base
    const parent = start === null || seen.includes(one.path) ? undefined : byPath.get(start)
    if (parent !== undefined) return [...lineage(parent, [...seen, one.path]), label(one)]
    const above = one.from === null ? [] : [basename(one.from)]
    return [...(one.base === null ? [] : [basename(one.base, '.gguf')]), ...above, label(one)]
  }
  return made.map((one) => ({
    path: one.path,
    whole: one.whole,
    name: label(one),
    bytes: statSync(one.path).size,
    run: one.row.id,
    base: one.base,
    lineage: lineage(one)
  }))
}

/** The adapter a run started from. */
function startOf(row: RunRow, stage: string): string | null {
  if (stage === 'grpo') return join(row.folder, '2-sft', ADAPTER_FILE)
  if (row.kind === 'demo') return null
  const { input } = JSON.parse(row.input) as { input: { recipe?: { adapter?: string } } }
  return input.recipe?.adapter ?? null
}
