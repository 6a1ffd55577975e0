/** The desktop entry: one host, one window on it. Wires, nothing else. */
import { join } from 'node:path'
import { app, dialog } from 'electron'
import { RPCHandler } from '@orpc/server/message-port'
import { defaultWorkspace, openHost } from './ipc/host.ts'
import type { Host } from './ipc/host.ts'
import { createRouter, handlerOptions } from './ipc/router.ts'
import { beKnown, keepCrashReports, notify, onlyInstance, showInFolder, sleepGuard } from './window/desktop.ts'
import type { Told } from './window/desktop.ts'
import { setMenu } from './window/menu.ts'
import { placeOfArguments, placeOfFile } from './window/places.ts'
import { openWindow } from './window/window.ts'
import type { AppWindow } from './window/window.ts'

keepCrashReports()
beKnown()
let shown: AppWindow | null = null
let waiting: string | null = placeOfArguments(process.argv)
const go = (place: string | null): void => {
  if (shown === null) waiting = place ?? waiting
  else shown.go(place ?? '#/home')
}

if (onlyInstance((args, folder) => go(placeOfArguments(args, folder)))) {
  app.on('open-file', (event, path) => {
    event.preventDefault()
    go(placeOfFile(path))
  })
  app.on('window-all-closed', () => app.quit())
  void app.whenReady().then(start)
} else {
  app.quit()
}

async function start(): Promise<void> {
  app.setAppLogsPath()
  const host = opened()
  if (host === null) return app.exit(1)
  process.on('uncaughtExceptionMonitor', (error) => host.log(`the host met an error: ${error.stack ?? String(error)}`))
  endWith(host)
  const handler = new RPCHandler(createRouter(host), handlerOptions(host))
  setMenu(() => shown?.window ?? null, go, host.options.workspace)
  shown = await openWindow({
    serve: (port) => handler.upgrade(port),
    first: waiting,
    onPageGone: (reason, again) => {
      host.log(`the page's process ended: ${reason}`)
      const what = `The window's page ended (${reason}) again and again. Runs go on; start the app anew to see them.`
      if (!again) dialog.showErrorBox('Reasonsmith', what)
    }
  })
  shown.window.on('closed', () => (shown = null))
}

/** A worker runs from real files: it opens native libraries that lie beside it. */
const unpacked = (path: string): string => path.replace(/app\.asar(?=[\\/])/, 'app.asar.unpacked')

function opened(): Host | null {
  try {
    const awake = sleepGuard()
    const tell = (what: Told): void => {
      if (host.settings().notifications && shown?.window.isFocused() !== true) notify(what)
    }
    const host = openHost({
      workspace: defaultWorkspace(),
      workerPath: unpacked(join(import.meta.dirname, 'worker.js')),
      version: app.getVersion(),
      desktop: true,
      onBusy: awake,
      showInFolder,
      onEnded: (run) => {
        const title = run.how === 'done' ? `${run.name} is done` : `${run.name}: ${run.how ?? 'ended'}`
        tell({ title, body: (run.reason ?? '').split('\n')[0] ?? '', onClick: () => go(`#/runs/${run.id}`) })
      },
      onTrouble: (body) => tell({ title: 'Reasonsmith is in trouble', body, onClick: () => go('#/home') })
    })
    return host
  } catch (error) {
    const { message, hint } = error as { message: string; hint?: string }
    dialog.showErrorBox('Reasonsmith cannot open its workspace', [message, hint].filter(Boolean).join('\n\n'))
    return null
  }
}

/** Jobs save what they can before the program goes; what does not listen within the host's patience is ended. */
function endWith(host: Host): void {
  let ended = false
  app.on('before-quit', (event) => {
    if (ended) return
    event.preventDefault()
    void host.close().finally(() => {
      ended = true
      app.quit()
    })
  })
  host.log(`desktop ${app.getVersion()}, logs ${join(app.getPath('logs'))}`)
}
