/** The bases on this machine, and the one that was chosen last: pages that need a base start with it. */
import type { ModelFile } from '../../shared/contract/types.ts'
import { api } from '../lib/api.ts'
import type { Answer, Api } from '../lib/api.ts'
import { resource } from '../lib/resource.svelte.ts'
import type { Resource } from '../lib/resource.svelte.ts'
import { app } from './app.svelte.ts'

const KEY = 'reasonsmith.base'

export type ModelList = Answer<Api['models']['list']>

/** The list of models, asked again when they change. Call while a component is set up. */
export function modelList(): Resource<ModelList> {
  return resource(() => {
    void app.versions.models
    return api.models.list({})
  })
}

/** Those that can be opened. */
export const usable = (list: ModelList | undefined): readonly ModelFile[] =>
  (list?.models ?? []).filter((model) => model.problem === null)

export const lastBase = (): string => localStorage.getItem(KEY) ?? ''
export const rememberBase = (path: string): void => localStorage.setItem(KEY, path)

/** The one chosen last where it is still there, else the first that can be trained, else the first. */
export function startingBase(list: ModelList | undefined): string {
  const models = usable(list)
  const last = lastBase()
  return (
    models.find((model) => model.path === last)?.path ??
    models.find((model) => model.support.trainable)?.path ??
    models[0]?.path ??
    ''
  )
}

/**
 * An adapter as it is told from others: by its run's name, else by its file with the folder it lies in, since every run
 * calls its file `adapter.gguf`.
 */
export function adapterTitle({ path, name, run }: { path: string; name: string; run: string | null }): string {
  if (run !== null) return name
  const [folder, file] = path.split(/[\\/]/).slice(-2)
  return file === undefined ? name : `${folder}/${file.replace(/\.gguf$/i, '')}`
}

/** Where an adapter comes from: the names from its base to it, or its path where they are not known. */
export const adapterOrigin = ({ path, lineage }: { path: string; lineage: readonly string[] }): string =>
  lineage.length > 1 ? lineage.join(' → ') : path
