/** The ten pages without a mouse: everything is reached and seen, dialogs and menus hold the focus and give it back. */
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { describeApp, served, visit } from './rig.ts'
import type { App } from './rig.ts'

const PAGES = ['', 'train', 'runs', 'compare', 'evaluate', 'models', 'datasets', 'play', 'reward', 'settings'] as const
/** Lists and the editor come a moment after the page, ms. */
const SETTLE = 2000
/** ms */
const MARKED = 250
/** More stops than any page has: who needs as many goes round in a trap. */
const MOST_STOPS = 250

/** What is wrong with the focused element: nothing shows that it is, or it lies outside what is seen. */
const faultOfFocus = (page: Page): Promise<string | null> =>
  page.evaluate(() => {
    const at = document.activeElement!
    ;(globalThis as unknown as { reached: Set<Element> }).reached.add(at)
    const shown = (it: Element): boolean => {
      const { outlineStyle, outlineWidth } = getComputedStyle(it)
      return outlineStyle !== 'none' && parseFloat(outlineWidth) > 0
    }
    // An editor draws it around the whole of itself.
    const editor = at.closest('.cm-editor')
    const framed = shown(at) || (editor !== null && shown(editor))
    const { width, height, bottom, top } = at.getBoundingClientRect()
    const name = at.getAttribute('aria-label') ?? at.textContent?.trim().slice(0, 40) ?? ''
    const said = `${at.tagName.toLowerCase()} “${name}”`
    if (width === 0 || height === 0) return `${said} has no size`
    if (bottom < 0 || top > innerHeight) return `${said} is out of sight`
    return framed ? null : `${said} shows no focus`
  })

/** Goes round once with Tab; what could be used by mouse and was not reached, and what was wrong on the way. */
async function walk(page: Page): Promise<string[]> {
  await page.evaluate(() => {
    ;(globalThis as unknown as { reached: Set<Element> }).reached = new Set()
    ;(document.activeElement as HTMLElement | null)?.blur()
  })
  const faults = new Set<string>()
  let stops = 0
  for (; stops < MOST_STOPS; stops++) {
    await page.keyboard.press('Tab')
    if (await page.evaluate(() => document.activeElement === document.body)) break
    const seen = await page.evaluate(() =>
      (globalThis as unknown as { reached: Set<Element> }).reached.has(document.activeElement!)
    )
    if (seen) break
    if ((await faultOfFocus(page)) === null) continue
    await page.waitForTimeout(MARKED) // an editor draws its frame a moment after it has the focus
    const fault = await faultOfFocus(page)
    if (fault !== null) faults.add(fault)
  }
  if (stops === MOST_STOPS) faults.add('the round has no end')
  const missed = await page.evaluate(() => {
    const { reached } = globalThis as unknown as { reached: Set<Element> }
    return [...document.querySelectorAll<HTMLElement>('main a[href], main button, main input, main textarea')]
      .filter((it) => it.tabIndex >= 0 && it.checkVisibility({ visibilityProperty: true }) && !it.matches(':disabled'))
      .filter((it) => it.getAttribute('aria-hidden') !== 'true' && it.closest('[inert]') === null && !reached.has(it))
      .filter((it) => !(it instanceof HTMLInputElement && it.type === 'radio'))
      .map(
        (it) =>
          `${it.tagName.toLowerCase()} “${it.getAttribute('aria-label') ?? it.textContent?.trim()}” is not reached`
      )
  })
  return [...faults, ...missed]
}

describeApp('the keyboard alone', () => {
  let app: App
  let page: Page

  served({ ready: (it) => void ({ app, page } = it) })

  test.for(PAGES)('%s: every control is reached and shows it', async (name) => {
    await visit(page, app.origin, name)
    await page.waitForTimeout(SETTLE)
    expect(await walk(page)).toEqual([])
  })

  test.for(PAGES)('%s: dialogs hold the focus, Escape closes them, the focus comes back', async (name) => {
    await visit(page, app.origin, name)
    await page.waitForTimeout(SETTLE)
    const openers = page
      .locator('main button:not([disabled]):not([aria-haspopup]):visible')
      .filter({ hasText: /…$/, hasNotText: 'Choose a file' }) // the browser's own
    for (const opener of await openers.all()) {
      const words = await opener.innerText()
      await opener.focus()
      await page.keyboard.press('Enter')
      const dialog = page.getByRole('dialog')
      await dialog.first().waitFor()
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press(i < 30 ? 'Tab' : 'Shift+Tab')
        const inside = await page.evaluate(() => document.activeElement?.closest('[role=dialog]') !== null)
        expect(inside, `${words}: Tab ${i + 1} leaves the dialog`).toBe(true)
      }
      await page.keyboard.press('Escape')
      await expect.poll(() => dialog.count(), { message: words }).toBe(0)
      await expect.poll(() => opener.evaluate((it) => it === document.activeElement), { message: words }).toBe(true)
    }
  })

  test.for(PAGES)('%s: menus and choices open, move and close by keys', async (name) => {
    await visit(page, app.origin, name)
    await page.waitForTimeout(SETTLE)
    for (const opener of await page.locator('main button[aria-haspopup]:not([disabled]):visible').all()) {
      const words = (await opener.getAttribute('aria-label')) ?? (await opener.innerText())
      await opener.focus()
      await page.keyboard.press('Enter')
      await expect.poll(() => opener.getAttribute('aria-expanded'), { message: words }).toBe('true')
      await page.keyboard.press('ArrowDown')
      await expect.poll(() => page.locator('[data-highlighted]').count(), { message: words }).toBe(1)
      await page.keyboard.press('Escape')
      await expect.poll(() => opener.getAttribute('aria-expanded'), { message: words }).toBe('false')
      await expect.poll(() => opener.evaluate((it) => it === document.activeElement), { message: words }).toBe(true)
    }
  })

  test('what leaves the queue comes back to it by Undo', async () => {
    const start = async (): Promise<string> => {
      await visit(page, app.origin, '')
      await page.getByRole('button', { name: /demo/i }).first().click()
      await page.waitForURL(/#\/runs\/\w+/)
      return /runs\/(\w+)/.exec(page.url())![1]!
    }
    const first = await start()
    const second = await startAgain(page, app)
    await page.getByRole('button', { name: 'Take out of the queue' }).click()
    await page.getByText('was taken out of the queue').waitFor()
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByRole('button', { name: 'Take out of the queue' }).waitFor()
    await visit(page, app.origin, '')
    await page.getByRole('button', { name: /into the trash$/ }).click()
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByRole('button', { name: /into the trash$/ }).waitFor()
    for (const id of [second, first]) {
      await visit(page, app.origin, `runs/${id}`)
      await page.getByRole('button', { name: /^(Stop now|Take out of the queue)$/ }).click()
    }
  })

  test('a removed tag and emptied notes come back by Undo', async () => {
    await visit(page, app.origin, 'runs')
    await page.locator('tbody a').first().click()
    await page.getByRole('tab', { name: 'Notes' }).click()
    await page.getByRole('textbox', { name: 'Tags' }).fill('paper')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Remove the tag paper' }).click()
    await expect.poll(() => page.getByRole('button', { name: 'Remove the tag paper' }).count()).toBe(0)
    await page.getByRole('button', { name: 'Undo' }).last().click()
    await page.getByRole('button', { name: 'Remove the tag paper' }).waitFor()
    await page.getByRole('textbox', { name: 'Notes' }).fill('what I saw')
    await page.keyboard.press('Tab')
    await page.getByText('Notes saved.').waitFor()
    await page.getByRole('textbox', { name: 'Notes' }).fill('')
    await page.keyboard.press('Tab')
    await page.getByText('The notes were emptied.').waitFor()
    await page.getByRole('button', { name: 'Undo' }).last().click()
    await expect.poll(() => page.getByRole('textbox', { name: 'Notes' }).inputValue()).toBe('what I saw')
  })
})

/** Another one, which waits behind the first: the palette starts it from anywhere. */
async function startAgain(page: Page, app: App): Promise<string> {
  const before = page.url()
  await visit(page, app.origin, 'runs')
  await page.keyboard.press('Control+k')
  await page.keyboard.type('short demo')
  await page.keyboard.press('Enter')
  await expect.poll(() => /#\/runs\/\w+/.test(page.url()) && page.url() !== before).toBe(true)
  return /runs\/(\w+)/.exec(page.url())![1]!
}
