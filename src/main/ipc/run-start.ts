/** From what a person asks for to a row of the queue. */
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import type { z } from 'zod'
import { AppError } from '../../shared/errors.ts'
import type { contract } from '../../shared/contract/index.ts'
import type { RunAdapter } from '../../shared/contract/runs.ts'
import type { InferSchemaOutput, ContractProcedure } from '@orpc/contract'
import { JOB_INPUTS } from '../../shared/worker-contract.ts'
import type { JobKind } from '../../shared/worker-contract.ts'
import type { Device, Recipe } from '../../shared/recipe.ts'
import { MODEL_FILE } from '../../shared/trained-file.ts'
import { keepRecipe, occupied } from '../data/prepare/run-folder.ts'
import type { NewRun, RunRow } from '../data/store/runs.ts'
import type { Host } from './host.ts'
import { readerOf } from './readers.ts'
import { checkRecipe } from './recipe-text.ts'
import { adaptersOf } from './run-folder.ts'

type InputOf<P> = P extends ContractProcedure<infer I, infer _O, infer _E, infer _M> ? InferSchemaOutput<I> : never
export type StartRequest = InputOf<typeof contract.runs.start>
type Asked<K extends StartRequest['kind']> = Extract<StartRequest, { kind: K }>

const STARTS: { readonly [K in StartRequest['kind']]: (host: Host, asked: Asked<K>) => NewRun | Promise<NewRun> } = {
  recipe: startRecipe,
  demo: (host, { short, seed }) => {
    const name = short ? 'Short demo' : 'Demo'
    const made = job(host, 'demo', { short, seed, ...machineOf(host) }, { name, slug: 'demo' })
    return { ...made, base: join(made.folder, 'base.gguf') }
  },
  doctor: (host) => job(host, 'doctor', machineOf(host), { name: 'Doctor', slug: 'doctor' }),
  export: (host, { run, adapter, to, options }) => {
    const source = existing(host, run)
    const chosen = adaptersOf(source).find(({ path }) => path === adapter)
    if (adapter !== undefined && chosen === undefined) {
      throw new AppError('usage', `${adapter} is no adapter of ${source.name}`, 'Choose one that its page lists.')
    }
    const from = chosen?.folder ?? (source.kind === 'demo' ? join(source.folder, '3-grpo') : source.folder)
    const which = chosen === undefined ? '' : adapterWords(chosen)
    if (to !== undefined) refuseOccupied(to)
    const folder = to ?? unused(host, host.at('exports', `${stamp()}-${slugOf(`${source.name} ${which}`)}`))
    const input = { ...options, to: folder, ...(adapter !== undefined && { adapter }) }
    const name = `Export of ${source.name}${which === '' ? '' : `: ${which}`}`
    const made = job(host, 'export', input, { name, slug: 'export', folder })
    return { ...made, input: JSON.stringify({ input, runDir: from }), parent: source.id, base: source.base }
  },
  prepare: (host, { base, options }) => {
    const name = `Prepare ${basename(base)}`
    const to = unused(host, host.at('models', `${basename(base, '.gguf')}-prepared-${stamp()}`), '.gguf')
    return { ...job(host, 'prepare', { to, ...options, base }, { name, slug: 'prepare' }), base }
  }
}

/** Checks what is asked for and puts it at the end of the queue. */
export async function startRun(host: Host, asked: StartRequest): Promise<RunRow> {
  const made = (STARTS[asked.kind] as (host: Host, asked: StartRequest) => NewRun | Promise<NewRun>)(host, asked)
  // No pause where none is needed: of two that come together, the second must find the first one's folder taken.
  return host.queue.add(made instanceof Promise ? await made : made)
}

async function startRecipe(host: Host, { yaml, name, parent }: Asked<'recipe'>): Promise<NewRun> {
  const folder = newFolder(host, name ?? 'run')
  const { recipe, refuse } = await checkRecipe(yaml, host.options.workspace, folder)
  const before = host.store.runs.byFolder(recipe.output_dir)
  // A run that waits has written nothing but its recipe yet.
  if (occupied(recipe.output_dir) || (before !== undefined && before.state !== 'ended')) {
    throw refuse([
      {
        path: ['output_dir'],
        value: recipe.output_dir,
        allowed: 'already holds a run; leave output_dir out and the app makes a new folder'
      }
    ])
  }
  const whole = onThisMachine(host, recipe)
  keepRecipe(whole)
  const start = ('adapter' in recipe ? recipe.adapter : undefined) ?? (isTrained(recipe.base) ? recipe.base : undefined)
  const startedFrom = start === undefined ? undefined : host.store.runs.byFolder(dirname(start))
  return {
    id: idOf(),
    kind: recipe.kind,
    name: name ?? defaultName(recipe.kind, recipe.base),
    input: JSON.stringify({ input: { recipe: whole } }),
    recipe: yaml,
    folder: recipe.output_dir,
    base: recipe.base,
    parent: parent ?? startedFrom?.id ?? null,
    created_at: Date.now()
  }
}

/** What a recipe leaves open, the settings say. */
export function onThisMachine<R extends Recipe>(host: Host, recipe: R): R {
  const settings = host.settings()
  const threads = recipe.threads ?? settings.threads
  const device = recipe.device === 'auto' ? settings.device : recipe.device
  return { ...recipe, device, ...(threads !== null && { threads }) }
}

/** A run of a job without a recipe. Throws AppError('usage') where its input is not what the job takes. */
function job(
  host: Host,
  kind: string,
  input: object,
  { name, slug, folder }: { name: string; slug: string; folder?: string }
): NewRun {
  const schema = (JOB_INPUTS as Readonly<Record<string, z.ZodType | undefined>>)[kind as JobKind]
  if (schema === undefined) throw new AppError('usage', `this version has no job "${kind}"`)
  const checked = schema.safeParse(input)
  if (!checked.success) {
    const what = checked.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n')
    throw new AppError('usage', what)
  }
  const where = folder ?? newFolder(host, slug)
  if (kind !== 'export') mkdirSync(where, { recursive: true })
  return {
    id: idOf(),
    kind,
    name,
    input: JSON.stringify({ input: checked.data }),
    recipe: '',
    folder: where,
    base: null,
    parent: null,
    created_at: Date.now()
  }
}
export { job as newJob }

export function existing(host: Host, id: string): RunRow {
  const row = host.store.runs.get(id)
  if (row === undefined)
    throw new AppError('usage', 'there is no such run', 'It may have been deleted; look at the list of runs.')
  return row
}

/** The device and the threads that the settings name, for jobs without a recipe. */
const machineOf = (host: Host): { device: Device; threads?: number } => {
  const { device, threads } = host.settings()
  return threads === null ? { device } : { device, threads }
}

const idOf = (): string => randomBytes(6).toString('base64url').replaceAll(/[-_]/g, 'x')
const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 40) || 'run'

/** `2026-03-01-1405`: sorts by time, in the time a person lives in. */
function stamp(): string {
  const now = new Date()
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}-${two(now.getHours())}${two(now.getMinutes())}`
}

const newFolder = (host: Host, name: string): string => unused(host, host.at('runs', `${stamp()}-${slugOf(name)}`))

/** The path, numbered where something lies there already, a run was given it, or a waiting or running job reads or writes it. */
function unused(host: Host, path: string, end = ''): string {
  for (let i = 1; ; i++) {
    const found = `${path}${i === 1 ? '' : `-${i}`}${end}`
    if (!existsSync(found) && !host.store.runs.byFolder(found) && !readerOf(host, found)) return found
  }
}

/** `sft`, `grpo, step 40`, `step 40`; '' for what a run of one stage ended with. */
const adapterWords = ({ stage, step }: RunAdapter): string =>
  [stage, step === null ? '' : `step ${step}`].filter(Boolean).join(', ')

/** At once, and not when the export's turn comes, which may be hours later. */
function refuseOccupied(folder: string): void {
  const there = statSync(folder, { throwIfNoEntry: false })
  if (there === undefined || (there.isDirectory() && readdirSync(folder).length === 0)) return
  const text = there.isDirectory() ? `${folder} is not empty` : `${folder} is a file`
  throw new AppError('usage', text, 'Name a folder that is new or empty, or leave it out.')
}

const isTrained = (base: string): boolean => basename(base) === MODEL_FILE

function defaultName(kind: string, base: string): string {
  const words: Readonly<Record<string, string>> = { sft: 'SFT', grpo: 'GRPO', evaluate: 'Evaluation' }
  // every fully trained model has the same file name: its run's folder tells them apart
  return `${words[kind] ?? kind} of ${isTrained(base) ? basename(dirname(base)) : basename(base, '.gguf')}`
}
