/** The desktop as the page may use it: what it is, one port to the host, and being led to a place. Nothing else crosses. */
import { contextBridge, ipcRenderer } from 'electron'

const CONNECT = 'reasonsmith:connect'
const PORT = 'reasonsmith:port'
const GO = 'reasonsmith:go'

/** The page's globals, of which this file needs two; the host's sources compile without the DOM's types. */
const page = globalThis as unknown as {
  readonly location: { hash: string }
  readonly postMessage: (message: unknown, target: string, transfer: readonly unknown[]) => void
}

contextBridge.exposeInMainWorld('desktop', {
  electron: process.versions['electron'],
  platform: process.platform,
  /** The port comes as a message of the window, since a port cannot cross the bridge. */
  connect: () => ipcRenderer.send(CONNECT)
})
ipcRenderer.on(PORT, (event) => page.postMessage(PORT, '*', [...event.ports]))
ipcRenderer.on(GO, (_event, place: unknown) => {
  if (typeof place === 'string' && place.startsWith('#/')) page.location.hash = place
})
