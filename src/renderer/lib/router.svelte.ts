/** Deep links in the address's fragment: `#/runs/ID?tab=terminal`. The address is the state; a reload shows the same. */

type Query = Readonly<Record<string, string | number | boolean | null | undefined>>

/** `#/runs/ID?tab=x` from its parts; parts are encoded, empty query values left out. */
export function href(path: readonly string[] | string, query: Query = {}): string {
  const parts = typeof path === 'string' ? path.split('/').filter(Boolean) : path.map(encodeURIComponent)
  const pairs = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== '' && v !== false)
  const search = new URLSearchParams(pairs.map(([k, v]) => [k, v === true ? '1' : String(v)])).toString()
  return `#/${parts.join('/')}${search === '' ? '' : `?${search}`}`
}

class Router {
  #hash = $state(location.hash)

  constructor() {
    addEventListener('hashchange', () => (this.#hash = location.hash))
  }

  readonly path = $derived.by((): readonly string[] => {
    const path = this.#hash.replace(/^#\/?/, '').split('?')[0]!
    return path.split('/').filter(Boolean).map(decode)
  })
  readonly query = $derived.by((): Readonly<Record<string, string>> => {
    const at = this.#hash.indexOf('?')
    return at < 0 ? {} : Object.fromEntries(new URLSearchParams(this.#hash.slice(at + 1)))
  })
  /** First segment: which page. */
  readonly page = $derived(this.path[0] ?? 'home')

  go(path: readonly string[] | string, query: Query = {}): void {
    location.hash = href(path, query)
    // At once, not with the event that comes later: what is left ends before it can change the address it left.
    this.#hash = location.hash
  }

  /** Changes some of the query in place, without a new entry in the history. Does nothing for a place that was just left. */
  setQuery(change: Query): void {
    if (location.hash !== this.#hash) {
      const asking = this.path.join('/')
      this.#hash = location.hash
      if (this.path.join('/') !== asking) return
    }
    const query: Query = { ...this.query, ...change }
    history.replaceState(null, '', href(this.path, query))
    this.#hash = location.hash
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
