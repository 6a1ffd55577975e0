/**
 * What the end-to-end tests stand on: the app as `reasonsmith serve` with a real worker and a real database in a folder of
 * its own, looked at with the system's Chromium. Where there is no Chromium, `describeApp` skips and says so.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect } from 'vitest'

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const CHROMIUM = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
export const chromiumPath = CHROMIUM.find((path) => path !== undefined && existsSync(path))
export const THEMES = ['light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

/** A suite that needs Chromium and the built page. */
export const describeApp = (name: string, body: () => void): void => {
  if (chromiumPath === undefined)
    describe.skip(`${name} (skipped: no Chromium here; install it or name it in CHROMIUM)`, body)
  else describe(name, body)
}

export type App = {
  readonly address: string
  readonly origin: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

export type Served = { readonly app: App; readonly browser: Browser; readonly tab: Tab; readonly page: Page }
type Serving = {
  /** What lies in the workspace before the app starts. */
  readonly before?: (folder: string) => void | Promise<void>
  /** Hands over what was started, and may put more in. */
  readonly ready?: (served: Served) => void | Promise<void>
  /** How long all of this may take, ms. */
  readonly patience?: number
}
const PATIENCE = 120_000

/**
 * For the suite it is called in: the app on a new empty workspace, a browser and a tab, before its tests; all of it gone after
 * them. Answers with the workspace's folder.
 */
export function served({ before, ready, patience = PATIENCE }: Serving = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-e2e-'))
  let browser: Browser | undefined
  beforeAll(async () => {
    await before?.(folder)
    const app = await startApp(folder)
    browser = await openBrowser()
    const tab = await openTab(browser, app)
    await ready?.({ app, browser, tab, page: tab.page })
  }, patience)
  afterAll(async () => {
    await browser?.close()
    await Promise.all([...running].map((app) => app.stop()))
    rmSync(folder, { recursive: true, force: true })
  }, PATIENCE)
  return folder
}

/** Apps that were started and not stopped. */
const running = new Set<App>()

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

const openBrowser = (): Promise<Browser> =>
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

/** Serious and critical faults of the page as it stands, one line each. */
export async function seriousFaults(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze()
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(' ')} ${failureSummary?.split('\n')[1]?.trim() ?? ''}`).join('; ')}`
    )
}

/** A picture as build output: `out/screenshots/NAME-THEME.png`. */
export async function picture(page: Page, name: string, theme: Theme): Promise<void> {
  mkdirSync(at('out/screenshots'), { recursive: true })
  await page.screenshot({ path: at(`out/screenshots/${name}-${theme}.png`), animations: 'disabled' })
}

/** The page as it stands in light and dark: a picture of each, and no serious fault in either. */
export async function bothThemes(page: Page, name: string): Promise<void> {
  for (const theme of THEMES) {
    await page.evaluate((to) => (document.documentElement.dataset['theme'] = to), theme)
    await page.waitForTimeout(SETTLE)
    await picture(page, name, theme)
    expect(await seriousFaults(page)).toEqual([])
  }
}
/** Charts take up a new theme's colours within this, ms. */
const SETTLE = 300
