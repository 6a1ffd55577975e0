/** Two policies answer side by side; a trace is kept, presented, taken along; 100,000 tokens of thought do not stall the page. */
import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bothThemes, client, describeApp, served, picture, seriousFaults, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

/** About four characters a token: 100,000 tokens. */
const LINE = 'So 17 and 24 make 41, less 8 leaves 33; check: 33 and 8 make 41 again.\n'
const LONG_THOUGHT = Array.from({ length: Math.ceil(400_000 / LINE.length) }, (_, i) =>
  i % 6 === 5 ? `${LINE}\n` : LINE
).join('')

describeApp('the playground', () => {
  let app: App
  let tab: Tab
  let page: Page

  served({
    ready: async (it) => {
      ;({ app, tab, page } = it)
      const { api, close } = await client(app)
      const answers = [{ policy: 'long', thinking: LONG_THOUGHT, answer: '\\boxed{33}', tokens: 100_000, stop: 'eos' }]
      await api.play.save({ title: 'A long thought', prompt: 'Compute 17+24-8.', answers })
      close()
    }
  })

  const answered = async (): Promise<void> => {
    await page.getByRole('article').first().waitFor()
    await page.waitForFunction(() => document.querySelectorAll('article[aria-busy="true"]').length === 0)
  }

  test('two policies answer the same prompt', async () => {
    await visit(page, app.origin, 'play')
    await page.getByLabel(/^Base: (?!Choose)/).waitFor()
    await page.getByRole('button', { name: 'Compute 17+24-8.' }).click()
    await page.getByRole('button', { name: 'Another policy beside it' }).click()
    await page.getByLabel('Token budget').fill('48')
    await page.getByLabel('Prompt').press('Enter')
    await answered()
    expect(await page.getByRole('article').count()).toBe(2)
    for (const article of await page.getByRole('article').all())
      expect(await article.innerText()).toMatch(/\d+ tokens?/)
    await bothThemes(page, 'play-answers')
  })

  test('the same seed gives the same answer; a cut answer goes on', async () => {
    const first = await page.getByRole('article').first().innerText()
    await page.getByRole('button', { name: 'New conversation' }).click()
    await page.getByRole('button', { name: 'Compute 17+24-8.' }).click()
    await page.getByLabel('Token budget').fill('3')
    await page.getByLabel('Prompt').press('Enter')
    await answered()
    await page.getByText('cut at the budget').first().waitFor()
    const before = await page.getByRole('article').first().innerText()
    await page.getByLabel('Token budget').fill('45')
    await page.getByRole('button', { name: 'Continue' }).last().click()
    await page.waitForFunction((text) => document.querySelector('article')?.innerText !== text, before)
    await answered()
    expect(first).not.toBe('')
    expect(await page.getByText('cut at the budget').count()).toBeLessThan(2)
  })

  test('a trace is kept, presented by the keyboard, taken along as one file', async () => {
    await page.getByRole('button', { name: 'Present' }).first().click()
    await page.getByText('The question', { exact: true }).waitFor()
    await page.keyboard.press('End')
    await page.getByText('The answer', { exact: true }).waitFor()
    await picture(page, 'play-present', 'light')
    expect(await seriousFaults(page)).toEqual([])
    await page.keyboard.press('Home')
    await page.getByText('The question', { exact: true }).waitFor()
    await page.keyboard.press('Escape')
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Export as HTML' }).click()
    const html = readFileSync(await (await download).path(), 'utf8')
    expect(html).toContain('Compute 17+24-8.')
    expect(html).not.toMatch(/(src|href)="http/)
    await visit(page, app.origin, 'play/saved')
    await page.getByRole('button', { name: /^Remove Compute/ }).click()
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByRole('link', { name: 'Compute 17+24-8.' }).waitFor()
  })

  test('a thought of 100,000 tokens: the page answers while it is read, and presents it step by step', async () => {
    await visit(page, app.origin, 'play/saved')
    const longest = page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          // The longest time the page could not draw, over six seconds.
          let [last, worst] = [performance.now(), 0]
          const until = last + 6000
          const look = (now: number): void => {
            worst = Math.max(worst, now - last)
            last = now
            if (now < until) requestAnimationFrame(look)
            else resolve(worst)
          }
          requestAnimationFrame(look)
        })
    )
    await page.getByRole('link', { name: 'A long thought' }).click()
    await page.getByRole('article').getByText('33 and 8 make 41 again').first().waitFor()
    const thought = page.locator('.thought')
    expect((await thought.textContent())!.length).toBe(LONG_THOUGHT.length)
    await page.evaluate(() => document.querySelector('main')!.scrollTo({ top: 100_000 }))
    console.log(`longest pause while 100,000 tokens are laid out: ${Math.round(await longest)} ms`)
    await page.getByRole('link', { name: 'Present' }).click()
    await page.getByText('The question', { exact: true }).waitFor()
    await page.keyboard.press('ArrowRight')
    await page.getByText(/^Thought 1 of \d+/).waitFor()
    expect(tab.errors).toEqual([])
  })
})
