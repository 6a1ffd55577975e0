/** What the Train page begins with: a run's recipe, what another page sent, the kept draft, or a preset. */
import type { Api } from '../../lib/api.ts'

type Query = Readonly<Record<string, string>>
type Named = { readonly id: string; readonly kind: string }

/** A setting another page asks for, as a change of the YAML. */
type Change = { readonly path: string; readonly value: unknown }

/** `#/train?kind=sft&base=…&train=…&tasks=…&adapter=…` as changes of a preset. */
export function changesOf(query: Query): Change[] {
  const { base, adapter, train, tasks } = query
  return [
    ...(base === undefined ? [] : [{ path: 'base', value: base }]),
    ...(adapter === undefined ? [] : [{ path: 'adapter', value: adapter }]),
    ...(train === undefined ? [] : [{ path: 'train', value: train }]),
    // A preset's held-out tasks belong to its own tasks.
    ...(tasks === undefined
      ? []
      : [
          { path: 'tasks', value: [{ file: tasks }] },
          { path: 'held_out', value: null },
          { path: 'eval_steps', value: null }
        ])
  ]
}

/** What a run of a recipe's file is called at first: `sft` for `/home/me/sft.yaml`. */
export const recipeName = (path: string): string => path.replace(/^.*[\\/]/, '').replace(/\.ya?ml$/i, '')

/** The preset of a kind that takes the least time. */
export const quickPreset = <P extends Named>(presets: readonly P[], kind: string): P | undefined =>
  presets.find((preset) => preset.kind === kind && preset.id.startsWith('quick')) ??
  presets.find((preset) => preset.kind === kind) ??
  presets[0]

/** Applies changes one after the other, keeping comments and order. */
export async function withChanges(
  edit: Api['recipes']['edit'],
  yaml: string,
  changes: readonly Change[]
): Promise<string> {
  let text = yaml
  for (const { path, value } of changes) text = (await edit({ yaml: text, path, value })).yaml
  return text
}
