/** Where GGUF files already lie on this machine: other programs' folders and chosen ones, searched in place, nothing moved. */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import type { Dirent } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

export type FoundFile = {
  readonly path: string
  readonly name: string
  readonly source: string
  readonly bytes: number
  readonly modifiedAt: number
}
export type Place = { readonly source: string; readonly folder: string; readonly find: (folder: string) => Named[] }
type Named = { readonly path: string; readonly name: string }

/** Folders below a place are followed this deep. */
const DEPTH = 8
const MOST_FILES = 2000
/** Folders without finished models: an export lies in a partial one until all of it is checked, or for good if it was killed. */
const PASSED_BY = /^node_modules$|\.partial$/

/** The known caches, then the folders of the workspace and of the settings. */
export function places(
  own: readonly string[],
  chosen: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  home = homedir()
): Place[] {
  const hugging = env['HF_HUB_CACHE'] ?? join(env['HF_HOME'] ?? join(home, '.cache', 'huggingface'), 'hub')
  return [
    ...own.map((folder) => ({ source: 'This workspace', folder, find: ggufFiles })),
    { source: 'Hugging Face cache', folder: hugging, find: ggufFiles },
    { source: 'LM Studio', folder: lmStudioFolder(home), find: ggufFiles },
    { source: 'LM Studio', folder: join(home, '.cache', 'lm-studio', 'models'), find: ggufFiles },
    { source: 'Ollama', folder: env['OLLAMA_MODELS'] ?? join(home, '.ollama', 'models'), find: ollamaModels },
    { source: 'Ollama', folder: '/usr/share/ollama/.ollama/models', find: ollamaModels },
    { source: 'node-llama-cpp', folder: join(home, '.node-llama-cpp', 'models'), find: ggufFiles },
    ...chosen.map((folder) => ({ source: folder, folder, find: ggufFiles }))
  ]
}

/** Every file once, however many links lead to it; the first part of a model in parts. What may not be read is passed by. */
export function scan(all: readonly Place[]): FoundFile[] {
  const seen = new Set<string>()
  return all.flatMap(({ source, folder, find }) =>
    find(folder).flatMap(({ path, name }) => {
      const stat = orNothing(() => statSync(path))
      if (stat?.isFile() !== true) return []
      const real = realpathSync(path)
      if (seen.has(real)) return []
      seen.add(real)
      return [{ path, name, source, bytes: stat.size, modifiedAt: Math.round(stat.mtimeMs) }]
    })
  )
}

/** One folder or file of another program that is missing, forbidden or torn must not hide all the others. */
function orNothing<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
const entriesIn = (folder: string): readonly Dirent[] =>
  orNothing(() => readdirSync(folder, { withFileTypes: true })) ?? []

function ggufFiles(folder: string): Named[] {
  /** Folders that were entered, by their real place: links may lead in circles. */
  const entered = new Set<string>()
  const within = (at: string, depth: number): Named[] => {
    const real = orNothing(() => realpathSync(at))
    if (real === undefined || entered.has(real)) return []
    entered.add(real)
    return entriesIn(at).flatMap((entry) => {
      const path = join(at, entry.name)
      if (/\.gguf$/i.test(entry.name))
        return /-0*[2-9]\d*-of-\d+\.gguf$|-0*1\d+-of-\d+\.gguf$/i.test(entry.name)
          ? []
          : [{ path, name: entry.name.replace(/\.gguf$/i, '') }]
      const leads = entry.isDirectory() || (entry.isSymbolicLink() && isFolder(path))
      return leads && depth > 0 && !PASSED_BY.test(entry.name) ? within(path, depth - 1) : []
    })
  }
  return within(folder, DEPTH).slice(0, MOST_FILES)
}
const isFolder = (path: string): boolean => orNothing(() => statSync(path))?.isDirectory() === true

/** LM Studio's own setting of where its models lie, which a person may have moved to a larger disk. */
function lmStudioFolder(home: string): string {
  const usual = join(home, '.lmstudio', 'models')
  const settings = orNothing(
    () => JSON.parse(readFileSync(join(home, '.lmstudio', 'settings.json'), 'utf8')) as { downloadsFolder?: unknown }
  )
  return typeof settings?.downloadsFolder === 'string' ? settings.downloadsFolder : usual
}

/** Ollama keeps a model as a blob named by its digest; a manifest says which one and what it is called. */
function ollamaModels(folder: string): Named[] {
  const manifests = join(folder, 'manifests')
  const files = (at: string, names: readonly string[]): readonly string[][] =>
    names.length > 4
      ? []
      : entriesIn(at).flatMap((entry) =>
          entry.isDirectory() ? files(join(at, entry.name), [...names, entry.name]) : [[...names, entry.name]]
        )
  return files(manifests, []).flatMap((names) => {
    try {
      const manifest = JSON.parse(readFileSync(join(manifests, ...names), 'utf8')) as {
        layers?: readonly { mediaType?: string; digest?: string }[]
      }
      const layer = manifest.layers?.find(({ mediaType }) => mediaType === 'application/vnd.ollama.image.model')
      if (layer?.digest === undefined) return []
      const [tag, model] = [names.at(-1)!, names.at(-2)!]
      return [{ path: join(folder, 'blobs', layer.digest.replace(':', '-')), name: `${model}:${tag}` }]
    } catch {
      return [] // a manifest of another form
    }
  })
}
