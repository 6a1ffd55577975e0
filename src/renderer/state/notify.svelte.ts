/**
 * In a browser tab the page itself tells of what ended while nobody looked, with the browser's leave; in the desktop window
 * the host does.
 */
import { api } from '../lib/api.ts'
import { desktop } from '../lib/connection.svelte.ts'
import { router } from '../lib/router.svelte.ts'
import { stateSentence } from '../lib/run-words.ts'
import { app } from './app.svelte.ts'

/** `unasked`: the browser would ask the person first. */
export const mayNotify = (): 'yes' | 'no' | 'unasked' | 'never' => {
  if (desktop !== undefined) return 'yes'
  if (!('Notification' in globalThis)) return 'never'
  return NOTIFIES[Notification.permission]
}
const NOTIFIES = { granted: 'yes', denied: 'no', default: 'unasked' } as const

const nobodyLooks = (): boolean => document.visibilityState === 'hidden' || !document.hasFocus()
const wanted = (): boolean =>
  desktop === undefined && app.settings?.notifications === true && mayNotify() === 'yes' && nobodyLooks()

function tell(title: string, body: string, place: readonly string[]): void {
  const note = new Notification(title, { body, tag: place.join('/') })
  note.addEventListener('click', () => {
    window.focus()
    router.go(place)
    note.close()
  })
}

async function tellEnd(id: string): Promise<void> {
  const { run } = await api.runs.get({ id })
  if (run.state.kind !== 'ended') return
  const { how } = run.state
  const title = how === 'done' ? `${run.name} is done` : `${run.name}: ${how}`
  tell(title, stateSentence(run, Date.now()).split('\n')[0] ?? '', ['runs', id])
}

/** Tells of every run that no longer runs and of every new notice of the host, until what it answers is called. */
export function watchForNotices(): () => void {
  let ran: ReadonlySet<string> | undefined
  let known: ReadonlySet<string> | undefined
  return $effect.root(() => {
    $effect(() => {
      if (!app.ready) return
      const [running, notices] = [new Set(app.queue.running.map(({ id }) => id)), new Set(app.notices)]
      const ended = [...(ran ?? [])].filter((id) => !running.has(id))
      const fresh = known === undefined ? [] : [...notices].filter((notice) => !known!.has(notice))
      ran = running
      known = notices
      if (!wanted()) return
      // A run that was deleted meanwhile has nothing to tell.
      for (const id of ended) void tellEnd(id).catch(() => undefined)
      for (const notice of fresh) tell('Reasonsmith is in trouble', notice, [''])
    })
  })
}
