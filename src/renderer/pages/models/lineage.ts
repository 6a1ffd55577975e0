/** Adapters, and models trained whole, under the base they belong to, each after the one it started from. Pure. */
import type { z } from 'zod'
import type { AdapterFile } from '../../../shared/contract/models.ts'
import { MODEL_FILE } from '../../../shared/trained-file.ts'

export type Adapter = z.infer<typeof AdapterFile>
export type Branch = { readonly adapter: Adapter; readonly depth: number }
export type Family = { readonly base: string | null; readonly title: string; readonly branches: readonly Branch[] }

/** What answers with it: the base and the adapter, or a whole model alone. */
export const policyOf = ({ path, whole, base }: Adapter): { base: string | null; adapter: string | null } =>
  whole ? { base: path, adapter: null } : { base, adapter: path }

/**
 * Families by base, the unknown base last. Inside one the lineages sort beside each other, so that a run stands under
 * the run it continued; `depth` is how many of its ancestors are listed.
 */
export function families(adapters: readonly Adapter[]): Family[] {
  const bases = [...new Set(adapters.map((adapter) => adapter.base))].sort((a, b) =>
    a === null ? 1 : b === null ? -1 : a.localeCompare(b)
  )
  return bases.map((base) => {
    const own = adapters
      .filter((adapter) => adapter.base === base)
      .sort((a, b) => key(a.lineage).localeCompare(key(b.lineage)))
    return {
      base,
      title: base === null ? 'Base unknown' : baseTitle(base),
      branches: own.map((one) => ({ adapter: one, depth: ancestors(one, own) }))
    }
  })
}

const SEPARATOR = '\u0000'
const key = (lineage: readonly string[]): string => lineage.join(SEPARATOR)
const ancestors = (adapter: Adapter, others: readonly Adapter[]): number =>
  others.filter(
    (other) =>
      other !== adapter && other.lineage.length > 0 && key(adapter.lineage).startsWith(key(other.lineage) + SEPARATOR)
  ).length

/** Models that runs left all have one file name: the folder tells them apart. */
const baseTitle = (path: string): string =>
  fileName(path) === MODEL_FILE ? path.split(/[\\/]/).slice(-2).join('/') : fileName(path)

export const fileName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path
