/** The desktop's file manager: injected by the window, not there in `serve`. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { appCalls } from '../../src/main/ipc/app.ts'
import { openHost } from '../../src/main/ipc/host.ts'
import { atEnd, workspace } from '../store/workspace.ts'

const workerPath = join(import.meta.dirname, '../fake/worker.ts')

test('a desktop shows what is there; without one, or where nothing lies, the call says so', async () => {
  const shown: string[] = []
  const desktop = openHost({
    workspace: workspace(),
    workerPath,
    version: '0.0.0',
    desktop: true,
    showInFolder: (path) => void shown.push(path)
  })
  atEnd(desktop.close)
  const ask = async (host: typeof desktop, path: string): Promise<unknown> =>
    appCalls(host).showInFolder({ path }, undefined)
  await ask(desktop, desktop.at('runs'))
  expect(shown).toEqual([desktop.at('runs')])
  await expect(ask(desktop, desktop.at('runs', 'gone'))).rejects.toMatchObject({ code: 'usage' })
  expect(shown).toHaveLength(1)
  const served = openHost({ workspace: workspace(), workerPath, version: '0.0.0', desktop: false })
  atEnd(served.close)
  await expect(ask(served, served.at('runs'))).rejects.toMatchObject({ code: 'usage', hint: 'Copy the path instead.' })
})
