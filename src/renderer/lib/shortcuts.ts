/** Keys that work everywhere, except while something is typed. */
import { commands } from '../state/commands.svelte.ts'
import { theme } from '../state/theme.svelte.ts'
import { PAGES } from './pages.ts'
import { router } from './router.svelte.ts'

/** How long after `g` a letter still counts, ms. */
const CHORD = 1200
let chordUntil = 0

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) &&
  !target.classList.contains('xterm-helper-textarea')

export function onShortcut(event: KeyboardEvent): void {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault()
    commands.open = !commands.open
    return
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || commands.open) return
  if (Date.now() < chordUntil) {
    chordUntil = 0
    const page = PAGES.find(({ key }) => key === event.key)
    if (page === undefined) return
    event.preventDefault()
    router.go(page.name === 'home' ? '' : page.name)
  } else if (event.key === 'g') chordUntil = Date.now() + CHORD
  else if (event.key === '?') commands.help = true
  else if (event.key === 'T') theme.toggle()
}
