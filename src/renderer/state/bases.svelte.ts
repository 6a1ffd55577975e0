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
