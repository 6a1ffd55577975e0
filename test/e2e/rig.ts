/**
 * What the end-to-end tests stand on: the app as `reasonsmith serve` with a real worker and a real database in a folder of
 * its own, looked at with the system's Chromium. Where there is no Chromium, `describeApp` skips and says so.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import { createORPCClient } from '@orpc/client'
import { RPCLink } from '@orpc/client/websocket'
import type { ContractRouterClient } from '@orpc/contract'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { WebSocket } from 'ws'
import type { Contract } from '../../src/shared/contract/index.ts'
import { at, chromiumPath, openBrowser, openTab, running, startApp, visit } from './served-app.ts'
import type { App, Tab, Theme } from './served-app.ts'

export { chromiumPath, openTab, startApp, visit }
export type { App, Tab }
export const THEMES = ['light', 'dark'] as const satisfies readonly Theme[]

/** A suite that needs Chromium and the built page. */
export const describeApp = (name: string, body: () => void): void => {
  if (chromiumPath === undefined)
    describe.skip(`${name} (skipped: no Chromium here; install it or name it in CHROMIUM)`, body)
  else describe(name, body)
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

/** A client beside the page, let in as the page is. */
export async function client(app: App): Promise<{ api: ContractRouterClient<Contract>; close: () => void }> {
  const { headers } = await fetch(app.address, { redirect: 'manual' })
  const cookie = headers.getSetCookie()[0]!.split(';')[0]!
  const socket = new WebSocket(`${app.origin.replace('http', 'ws')}/rpc`, { headers: { cookie, origin: app.origin } })
  const api: ContractRouterClient<Contract> = createORPCClient(new RPCLink({ websocket: socket as never }))
  return { api, close: () => socket.close() }
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
    await page.emulateMedia({ colorScheme: theme })
    await page.waitForTimeout(SETTLE)
    await picture(page, name, theme)
    expect(await seriousFaults(page)).toEqual([])
  }
}
/** Charts take up a new theme's colours within this, ms. */
const SETTLE = 300
