/** `reasonsmith serve`: a host on a workspace and its page in a browser tab, until it is told to end. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { defaultWorkspace, openHost } from '../ipc/host.ts'
import { createRouter, handlerOptions } from '../ipc/router.ts'
import { awakeWhile } from './awake.ts'
import { serve } from './server.ts'

export type ServeRequest = {
  readonly workspace?: string | undefined
  readonly port: number
  readonly host: string
  readonly workerPath: string
  readonly version: string
  readonly say: (text: string) => void
}

/** Resolves after SIGINT or SIGTERM, when running jobs have saved what they can. */
export async function runServe({ workspace, port, host, workerPath, version, say }: ServeRequest): Promise<void> {
  const onBusy = awakeWhile((text) => opened.log(text))
  const opened = openHost({ workspace: workspace ?? defaultWorkspace(), workerPath, version, desktop: false, onBusy })
  process.on('uncaughtExceptionMonitor', (error) =>
    opened.log(`the host met an error: ${error.stack ?? String(error)}`)
  )
  try {
    const served = await serve({
      router: createRouter(opened),
      handlerOptions: handlerOptions(opened),
      page: pageFolder(),
      port,
      host
    })
    for (const notice of opened.notices) say(notice)
    say(`workspace: ${opened.options.workspace}`)
    for (const line of served.advice) say(line)
    say(`open: ${served.address}`)
    await asked()
    say('ending; what runs saves its state first (again: at once)')
    process.once('SIGINT', () => process.exit(130))
    await served.close()
  } finally {
    await opened.close()
    onBusy(false)
  }
}

const asked = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
  })

/** `out/renderer`, from the sources as from what was built of them. */
function pageFolder(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const page = join(folder, 'out', 'renderer')
    if (existsSync(join(page, 'index.html'))) return page
    if (existsSync(join(folder, 'package.json'))) return page
  }
  return join(import.meta.dirname, 'out', 'renderer')
}
