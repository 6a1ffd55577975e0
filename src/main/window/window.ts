/** The app's window. The page is untrusted: isolated, sandboxed, without Node, and it stays where it is. */
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { app, BrowserWindow, ipcMain, MessageChannelMain, screen, session } from 'electron'
import type { MessagePortMain } from 'electron'
import { reloadLimit } from './reload-limit.ts'
import { keepWindowState, readWindowState } from './window-state.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const CONNECT = 'reasonsmith:connect'
const PORT = 'reasonsmith:port'
const GO = 'reasonsmith:go'
/** All that the page may ask of the system. */
const ALLOWED = 'clipboard-sanitized-write'

export type AppWindow = { readonly window: BrowserWindow; readonly go: (place: string) => void }

export type WindowOptions = {
  /** Gets each port a page asks for. */
  readonly serve: (port: MessagePortMain) => void
  readonly first: string | null
  /** The page's process died; whether it is loaded again. */
  readonly onPageGone: (reason: string, again: boolean) => void
}

/** Opens the window on the built page, or on the development server where one runs. */
export async function openWindow({ serve, first, onPageGone }: WindowOptions): Promise<AppWindow> {
  session.defaultSession.setPermissionRequestHandler((_contents, permission, answer) => answer(permission === ALLOWED))
  session.defaultSession.setPermissionCheckHandler((_contents, permission) => permission === ALLOWED)
  const stateFile = join(app.getPath('userData'), 'window.json')
  const { bounds, maximized } = readWindowState(
    stateFile,
    screen.getAllDisplays().map(({ workArea }) => workArea)
  )
  const window = new BrowserWindow({
    ...(bounds ?? { width: 1280, height: 800 }),
    minWidth: 960,
    minHeight: 600,
    show: false,
    backgroundColor: '#101114',
    webPreferences: {
      preload: here('../preload/preload.cjs'),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      webviewTag: false,
      spellcheck: false
    }
  })
  if (maximized) window.maximize()
  window.on('close', () =>
    keepWindowState(stateFile, { bounds: window.getNormalBounds(), maximized: window.isMaximized() })
  )
  const page = here('../renderer/index.html')
  const server = app.isPackaged ? undefined : process.env['ELECTRON_RENDERER_URL']
  const home = server ?? pathToFileURL(page).href
  window.webContents.setWindowOpenHandler(() => ({ action: 'deny' }))
  window.webContents.on('will-navigate', (event) => event.preventDefault())
  window.webContents.on('will-attach-webview', (event) => event.preventDefault())
  window.once('ready-to-show', () => window.show())
  const mayReload = reloadLimit()
  window.webContents.on('render-process-gone', (_event, { reason }) => {
    if (reason === 'clean-exit') return
    const again = mayReload()
    onPageGone(reason, again)
    if (again) window.webContents.reload()
  })

  // One port for each page that asks, and only for the page itself.
  const connect = (event: Electron.IpcMainEvent): void => {
    if (event.sender !== window.webContents || event.senderFrame?.url.split('#')[0] !== home.split('#')[0]) return
    const { port1, port2 } = new MessageChannelMain()
    serve(port1)
    port1.start()
    event.sender.postMessage(PORT, null, [port2])
  }
  ipcMain.on(CONNECT, connect)
  window.on('closed', () => ipcMain.off(CONNECT, connect))

  if (server === undefined) await window.loadFile(page, first === null ? {} : { hash: first.slice(1) })
  else await window.loadURL(`${server}${first ?? ''}`)
  return {
    window,
    go: (place) => {
      if (window.isMinimized()) window.restore()
      window.show()
      window.focus()
      window.webContents.send(GO, place)
    }
  }
}
