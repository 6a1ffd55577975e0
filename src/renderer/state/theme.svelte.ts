/** Light, dark or as the system says. Kept by the host; a copy in the tab avoids a flash at the next start. */
import type { Settings } from '../../shared/contract/types.ts'
import { api } from '../lib/api.ts'

export type Theme = Settings['theme']
const KEY = 'reasonsmith.theme'
const THEMES: readonly Theme[] = ['system', 'light', 'dark']
const system = matchMedia('(prefers-color-scheme: dark)')

function remembered(): Theme {
  const kept = localStorage.getItem(KEY) as Theme | null
  return kept !== null && THEMES.includes(kept) ? kept : 'system'
}

class ThemeState {
  chosen = $state<Theme>(remembered())
  #system = $state(system.matches)
  readonly dark = $derived(this.chosen === 'system' ? this.#system : this.chosen === 'dark')

  constructor() {
    system.addEventListener('change', () => {
      this.#system = system.matches
      this.#apply()
    })
    this.#apply()
  }

  /** Takes what the host has kept. */
  take(theme: Theme): void {
    this.chosen = theme
    localStorage.setItem(KEY, theme)
    this.#apply()
  }

  choose(theme: Theme): void {
    this.take(theme)
    void api.app.changeSettings({ theme }).catch(() => undefined) // the tab keeps it even where the host cannot
  }

  toggle(): void {
    this.choose(this.dark ? 'light' : 'dark')
  }

  #apply(): void {
    document.documentElement.dataset['theme'] = this.dark ? 'dark' : 'light'
  }
}

export const theme = new ThemeState()
