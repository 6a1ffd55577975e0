/** Every page in both themes, empty and with a finished run: no serious accessibility fault, a picture of each. */
import type { Browser } from 'playwright-core'
import { expect, test } from 'vitest'
import { describeApp, served, openTab, picture, seriousFaults, THEMES, visit } from './rig.ts'
import type { App } from './rig.ts'

const PAGES = ['', 'train', 'runs', 'compare', 'evaluate', 'models', 'datasets', 'play', 'reward', 'settings'] as const
const TABS = ['overview', 'scores', 'terminal', 'groups', 'checkpoints', 'settings', 'notes'] as const
/** Data that is drawn rather than written needs a moment. */
const SETTLE = 700

describeApp('every page', () => {
  let app: App
  let browser: Browser
  let run = ''

  served({ ready: (it) => void ({ app, browser } = it) })

  for (const theme of THEMES) {
    test.for(PAGES)(`%s, empty, ${theme}`, async (name) => {
      const { page, errors, context } = await openTab(browser, app, theme)
      await visit(page, app.origin, name)
      await page.waitForTimeout(SETTLE)
      await picture(page, `${name || 'home'}-empty`, theme)
      expect(await seriousFaults(page)).toEqual([])
      expect(errors).toEqual([])
      await context.close()
    })
  }

  test('a short demo to look at', async () => {
    const { page, context } = await openTab(browser, app)
    await page.getByRole('button', { name: 'Short demo' }).click()
    await page.waitForURL(/#\/runs\/\w+/)
    run = /runs\/(\w+)/.exec(page.url())![1]!
    await page.getByText('Done', { exact: true }).first().waitFor({ timeout: 400_000 })
    await context.close()
  }, 400_000)

  for (const theme of THEMES) {
    test.for([...PAGES.filter((name) => name !== 'compare'), ...TABS.map((tab) => `runs/RUN?tab=${tab}`)])(
      `%s with a finished run, ${theme}`,
      async (name) => {
        const { page, errors, context } = await openTab(browser, app, theme)
        await visit(page, app.origin, name.replace('RUN', run))
        await page.waitForTimeout(SETTLE)
        await picture(page, name.startsWith('runs/') ? `run-${name.split('=')[1]}` : name || 'home', theme)
        expect(await seriousFaults(page)).toEqual([])
        expect(errors).toEqual([])
        await context.close()
      }
    )
  }

  test('the keyboard alone reaches everything: skip link, pages, palette, help', async () => {
    const { page, context } = await openTab(browser, app)
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent?.trim())).toBe('To the page')
    await page.keyboard.press('g')
    await page.keyboard.press('r')
    await page.getByRole('heading', { level: 1, name: 'Runs' }).waitFor()
    await page.keyboard.press('Control+k')
    await page.keyboard.type('settings')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: 'Settings' }).waitFor()
    await page.keyboard.press('Escape')
    await page.keyboard.press('?')
    await page.getByRole('dialog', { name: 'Keys' }).waitFor()
    expect(await seriousFaults(page)).toEqual([])
    await page.keyboard.press('Escape')
    expect(await page.getByRole('dialog').count()).toBe(0)
    await context.close()
  })
})
