/** What the desktop does beside the window: stays awake while jobs run, tells of their end, keeps crash reports here. */
import { app, crashReporter, Notification, powerSaveBlocker, shell } from 'electron'

/** Keeps the machine from sleeping while it is busy; the screen may go dark. */
export function sleepGuard(): (busy: boolean) => void {
  let blocker: number | null = null
  return (busy) => {
    if (busy) blocker ??= powerSaveBlocker.start('prevent-app-suspension')
    else if (blocker !== null) {
      powerSaveBlocker.stop(blocker)
      blocker = null
    }
  }
}

export type Told = { readonly title: string; readonly body: string; readonly onClick: () => void }

export function notify({ title, body, onClick }: Told): void {
  if (!Notification.isSupported()) return
  const notification = new Notification({ title, body })
  notification.on('click', onClick)
  notification.show()
}

/** Opens the system's file manager with the file or folder chosen in it. */
export const showInFolder = (path: string): void => shell.showItemInFolder(path)

/** Crash dumps stay in the app's own folder; nothing is sent anywhere. */
export function keepCrashReports(): void {
  crashReporter.start({ uploadToServer: false, compress: false })
}

/** Windows shows notifications only of programs it knows by this name: the installer's, `appId` in electron-builder.yml. */
export const beKnown = (): void => app.setAppUserModelId('app.reasonsmith.desktop')

/** True when this is the only instance; another one's arguments and folder come to `onOther` and that one ends. */
export function onlyInstance(onOther: (args: readonly string[], folder: string) => void): boolean {
  if (!app.requestSingleInstanceLock()) return false
  app.on('second-instance', (_event, args, folder) => onOther(args, folder))
  return true
}
