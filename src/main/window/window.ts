/** The app's window. The page is untrusted: isolated, sandboxed, without Node, and it stays where it is. */
import { fileURLToPath } from 'node:url'
import { BrowserWindow, session } from 'electron'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Opens the window on the built page, or on the development server where one runs. */
export async function openWindow(): Promise<void> {
  session.defaultSession.setPermissionRequestHandler((_contents, _permission, answer) => answer(false))
  const window = new BrowserWindow({
    width: 1200,
    height: 800,
    show: false,
    webPreferences: {
      preload: here('../preload/preload.cjs'),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false
    }
  })
  window.webContents.setWindowOpenHandler(() => ({ action: 'deny' }))
  window.webContents.on('will-navigate', (event) => event.preventDefault())
  window.once('ready-to-show', () => window.show())
  const server = process.env['ELECTRON_RENDERER_URL']
  if (server === undefined) await window.loadFile(here('../renderer/index.html'))
  else await window.loadURL(server)
}
