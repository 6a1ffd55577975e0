/** The app as `reasonsmith serve`, and the system's Chromium looking at it: what the journeys and the app's bench both stand on. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContext, Page } from 'playwright-core'

/** A file of this repository. */
export const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const CHROMIUM = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
export const chromiumPath = CHROMIUM.find((path) => path !== undefined && existsSync(path))
export type Theme = 'light' | 'dark'

export type App = {
  readonly address: string
  readonly origin: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

/** Apps that were started and not stopped. */
export const running = new Set<App>()

/** Starts `reasonsmith serve` on any free port. Throws with its output when it does not come up. */
export async function startApp(workspace: string, port = 0): Promise<App> {
  if (!existsSync(at('out/renderer/index.html'))) throw new Error('the page is not built: npm run build:page')
  const args = [at('src/main/cli.ts'), 'serve', '--workspace', workspace, '--port', String(port)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const address = await new Promise<string>((resolve, reject) => {
    let output = ''
    const read = (chunk: Buffer): void => {
      output += chunk.toString()
      const found = /http:\/\/\S+token=\S+/.exec(output)
      if (found) resolve(found[0])
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.on('exit', (code) => reject(new Error(`serve ended with ${code}: ${output}`)))
  })
  const app: App = {
    address,
    origin: new URL(address).origin,
    pid: child.pid!,
    stop: async () => {
      running.delete(app)
      await ended(child)
    }
  }
  running.add(app)
  return app
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), 15_000).unref()
  })
}

export type Tab = { readonly page: Page; readonly context: BrowserContext; readonly errors: string[] }

export const openBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumPath!, args: ['--no-sandbox', '--disable-dev-shm-usage'] })

/** A tab on the app in a fresh profile; `errors` collects what the page throws. */
export async function openTab(browser: Browser, app: App, theme: Theme = 'light'): Promise<Tab> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 720 },
    colorScheme: theme,
    acceptDownloads: true
  })
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  await page.goto(app.address)
  await page.getByRole('heading', { level: 1 }).waitFor()
  return { page, context, errors }
}

/** Goes to a deep link and waits until the host has answered. */
export async function visit(page: Page, origin: string, hash: string): Promise<void> {
  await page.goto(`${origin}/#/${hash}`)
  await page.getByRole('heading', { level: 1 }).first().waitFor()
  await page.waitForFunction(() => document.querySelector('main [role="status"].loading') === null)
}
