import { untrack } from 'svelte'

/** What the command palette (Ctrl-K) offers. Pages add commands while they are shown. */
export type Command = {
  readonly id: string
  readonly title: string
  /** Heading it stands under: `Go to`, `Run`, `This page`. */
  readonly group: string
  /** More words it is found by. */
  readonly words?: string
  /** As shown, e.g. `g r`. */
  readonly keys?: string
  /** Beside the title: what tells entries of one name apart. */
  readonly note?: string
  readonly run: () => unknown
}

class Commands {
  #sets = $state.raw<readonly (readonly Command[])[]>([])
  readonly all = $derived(this.#sets.flat())
  open = $state(false)
  help = $state(false)

  /** Adds commands; the answer takes them away again. */
  add(set: readonly Command[]): () => void {
    this.#sets = [...this.#sets, set]
    return () => {
      this.#sets = this.#sets.filter((other) => other !== set)
    }
  }
}

export const commands = new Commands()

/** Offers commands while the component that calls this is shown; `make` runs again when what it reads changes. */
export function offer(make: () => readonly Command[]): void {
  const made = $derived(make())
  $effect(() => {
    const set = made
    return untrack(() => commands.add(set))
  })
}
