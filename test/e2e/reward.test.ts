/** A reward is taken apart, and put into its group. */
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bothThemes, describeApp, served, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

describeApp('the reward workbench', () => {
  let app: App
  let tab: Tab
  let page: Page

  served({ ready: (it) => void ({ app, tab, page } = it) })

  const reward = (): Promise<string> => page.locator('section[aria-label="The reward"] .text-2xl').innerText()

  test('a right answer gets 8/13; a wrong one is told why; a cut one is overridden', async () => {
    await visit(page, app.origin, 'reward')
    await page.getByRole('button', { name: 'Show an example' }).first().click()
    await expect.poll(reward).toBe('+0.615')
    await page.getByRole('img', { name: /This completion has \d+ tokens/ }).waitFor()
    await bothThemes(page, 'reward-example')
    await page.getByRole('textbox', { name: 'Right answer' }).fill('702/2')
    await page.getByText('correct', { exact: true }).waitFor()
    await expect.poll(() => page.locator('section[aria-label="The reward"] ol li').count()).toBeGreaterThan(1)
    await page.getByRole('textbox', { name: 'Right answer' }).fill('350')
    await page.getByText('wrong', { exact: true }).waitFor()
    // Past l_neg_control a wrong answer stays at −0.5: 8/13 of it.
    await page.getByLabel('Length', { exact: true }).fill('400')
    await expect.poll(reward).toBe('−0.308')
    await page.getByRole('textbox', { name: 'Right answer' }).fill('351')
    await page.getByText('Ended by itself').click()
    await page.getByText(/the response did not end by itself/i).waitFor()
    await expect.poll(reward).toBe('−0.308')
  })

  test('a reload keeps what stands there; a group of equal rewards teaches nothing', async () => {
    await page.reload()
    await page.getByText(/the response did not end by itself/i).waitFor()
    await page.getByLabel('Rewards of the group').fill('1 1 1 1')
    await page.getByText(/no gradient comes from this group/).waitFor()
    await page.getByLabel('Rewards of the group').fill('1 one')
    await page.getByText('“one” is not a number.').waitFor()
    await page.getByLabel('Rewards of the group').fill('1 -1')
    await expect.poll(() => page.getByRole('list', { name: 'Advantages' }).innerText()).toContain('+0.707')
    expect(tab.errors).toEqual([])
  })
})
