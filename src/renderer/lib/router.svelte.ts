/** Deep links in the address's fragment: `#/runs/ID?tab=terminal`. The address is the state; a reload shows the same. */

type Query = Readonly<Record<string, string | number | boolean | null | undefined>>

/** `#/runs/ID?tab=x` from its parts; parts are encoded, empty query values left out. */
export function href(path: readonly string[] | string, query: Query = {}): string {
  const parts = typeof path === 'string' ? path.split('/').filter(Boolean) : path.map(encodeURIComponent)
  const pairs = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== '' && v !== false)
  const search = new URLSearchParams(pairs.map(([k, v]) => [k, v === true ? '1' : String(v)])).toString()
  return `#/${parts.join('/')}${search === '' ? '' : `?${search}`}`
}

const pathOf = (hash: string): readonly string[] =>
  hash.replace(/^#\/?/, '').split('?')[0]!.split('/').filter(Boolean).map(decode)

const pageOf = (hash: string): string => pathOf(hash)[0] ?? 'home'

class Router {
  #hash = $state(location.hash)
  /**
   * State, not derived from the address: Svelte runs blocks behind what an effect writes at once and does not ask whether what
   * lies between has changed, and `{#await}` then makes the page a second time.
   */
  #page = $state(pageOf(location.hash))

  constructor() {
    addEventListener('hashchange', () => this.#follow())
  }

  /** Takes the address as it is now. */
  #follow(): void {
    this.#hash = location.hash
    this.#page = pageOf(this.#hash)
  }

  readonly path = $derived(pathOf(this.#hash))
  readonly query = $derived.by((): Readonly<Record<string, string>> => {
    const at = this.#hash.indexOf('?')
    return at < 0 ? {} : Object.fromEntries(new URLSearchParams(this.#hash.slice(at + 1)))
  })
  /** First segment: which page. */
  get page(): string {
    return this.#page
  }

  go(path: readonly string[] | string, query: Query = {}): void {
    location.hash = href(path, query)
    // At once, not with the event that comes later: what is left ends before it can change the address it left.
    this.#follow()
  }

  /** Changes some of the query in place, without a new entry in the history. Does nothing for a place that was just left. */
  setQuery(change: Query): void {
    if (location.hash !== this.#hash) {
      const asking = this.path.join('/')
      this.#follow()
      if (this.path.join('/') !== asking) return
    }
    const query: Query = { ...this.query, ...change }
    history.replaceState(null, '', href(this.path, query))
    this.#follow()
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const router = new Router()
