/** Links that a page takes from its address: the page is made once, and stays what it is when the address turns plain. */
import { expect, test } from 'vitest'
import { describeApp, served, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

/** Counts first headings that come into the document: each belongs to a page that was made. */
const COUNT_PAGES = `
  globalThis.made = 0
  const headings = (node) =>
    node instanceof Element ? Number(node.matches('h1')) + node.querySelectorAll('h1').length : 0
  addEventListener('DOMContentLoaded', () =>
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const node of addedNodes) globalThis.made += headings(node)
    }).observe(document.body, { childList: true, subtree: true })
  )
`

describeApp('a link with a query', () => {
  let app!: App
  let tab!: Tab
  served({ ready: (it) => void ({ app, tab } = it) })

  test.each([
    ['is taken while the page loads', ''],
    ['is taken while another page is shown', 'settings']
  ])('%s: the playground is made once', async (_, before) => {
    const page = await tab.context.newPage()
    await page.addInitScript(COUNT_PAGES)
    if (before !== '') {
      await visit(page, app.origin, before)
      await page.evaluate('globalThis.made = 0')
    }
    await visit(page, app.origin, 'play?prompt=Seven%20pencils')
    await expect.poll(() => page.url()).toBe(`${app.origin}/#/play`)
    expect(await page.getByRole('textbox').first().inputValue()).toBe('Seven pencils')
    expect(await page.evaluate('globalThis.made')).toBe(1)
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1)
    await page.close()
  })
})
