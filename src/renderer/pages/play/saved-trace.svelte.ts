/** A kept trace by its id. Call while a component is set up. */
import { api } from '../../lib/api.ts'
import { resource } from '../../lib/resource.svelte.ts'
import type { Resource } from '../../lib/resource.svelte.ts'
import { app } from '../../state/app.svelte.ts'
import type { SavedTrace } from '../../../shared/contract/types.ts'

/** `null` where there is none of that id. */
export function savedTrace(id: () => string): Resource<SavedTrace | null> {
  return resource(async () => {
    void app.versions.play
    const wanted = id()
    return (await api.play.saved({})).find((trace) => trace.id === wanted) ?? null
  })
}
