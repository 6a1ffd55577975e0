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

  test('a rollout is taken from its run with its right answer, its limit, its settings and its group', async () => {
    const { origin } = app
    await visit(page, origin, '')
    await page.getByRole('button', { name: 'Short demo' }).click()
    await page.waitForURL(/#\/runs\/\w+/)
    const run = /runs\/(\w+)/.exec(page.url())![1]!
    await page.getByText('Done', { exact: true }).first().waitFor({ timeout: 400_000 })
    const last = async (row: number): Promise<void> => visit(page, origin, `runs/${run}?tab=groups&rollout=${row}`)
    for (const row of [0, 1, 3]) {
      await last(row)
      const said = page.getByRole('row', { name: /^reward: the sum of the contributions/ }).getByRole('cell')
      const recorded = Number((await said.innerText()).replace('−', '-'))
      await page.getByRole('link', { name: 'Take its reward apart' }).click()
      await page.getByText(new RegExp(`answer ${row + 1}: `)).waitFor()
      await expect.poll(async () => Math.abs(Number((await reward()).replace('−', '-')) - recorded)).toBeLessThan(0.002)
      expect(await page.getByRole('textbox', { name: 'Right answer' }).inputValue()).not.toBe('')
      const advantages = page.getByRole('list', { name: 'Advantages' }).getByRole('listitem')
      expect(await advantages.count()).toBe(4)
      expect(await advantages.nth(row).getAttribute('aria-current')).toBe('true')
    }
    await bothThemes(page, 'reward-rollout')
    await page.reload()
    await page.getByText(/answer 4: /).waitFor()
    // What is written then is no longer that rollout.
    await page.getByRole('textbox', { name: 'Completion' }).fill('<think>so</think>\\boxed{1}')
    await expect.poll(() => page.getByText(/answer 4: /).count()).toBe(0)
    await page.getByRole('button', { name: 'Pick from a run' }).click()
    await page.getByRole('dialog').getByLabel('Run').click()
    await page.getByRole('option').first().click()
    await page.getByRole('dialog').getByRole('listitem').nth(1).getByRole('button').click()
    await page.getByText(/answer 2: /).waitFor()
    expect(tab.errors).toEqual([])
  }, 460_000)
})
