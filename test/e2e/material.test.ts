/** What the machine has, measured and set: models with their verdicts, an evaluation from its form to a verdict by hand, the doctor. */
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bothThemes, describeApp, served, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

const BASE = fileURLToPath(new URL('../../resources/base/base.gguf', import.meta.url))
/** A small evaluation alone takes seconds; a busy machine takes longer. */
const PATIENCE = 240_000

describeApp('models, evaluation, settings', () => {
  let app: App
  let tab: Tab
  let page: Page

  const folder = served({
    before: (path) => {
      mkdirSync(join(path, 'models'))
      cpSync(BASE, join(path, 'models', 'copy-of-the-base.gguf'))
    },
    ready: (it) => void ({ app, tab, page } = it)
  })
  const models = join(folder, 'models')

  test('a folder is added and searched, a model is opened, the folder is taken away and back', async () => {
    await visit(page, app.origin, 'models')
    await page.getByRole('button', { name: 'Folders…' }).click()
    await page.getByRole('button', { name: 'Add a folder…' }).click()
    await page
      .getByRole('dialog', { name: 'Add a folder with models' })
      .getByLabel('Folder', { exact: true })
      .fill(models)
    await page.getByRole('button', { name: 'Go', exact: true }).click()
    await page.getByRole('button', { name: 'Choose this folder' }).click()
    await page.getByRole('button', { name: `No longer search ${models}` }).waitFor()
    await page.getByRole('button', { name: 'Done', exact: true }).click()
    await expect.poll(() => page.locator('tbody tr').count()).toBe(2)
    await page
      .locator('tbody tr', { has: page.locator('[title$="copy-of-the-base.gguf"]') })
      .getByRole('button')
      .first()
      .click()
    const drawer = page.getByRole('dialog')
    await drawer.getByText('trains', { exact: true }).waitFor()
    await bothThemes(page, 'model-drawer')
    await drawer.getByRole('tab', { name: /^Tensors/ }).click()
    await drawer.getByText('token_embd.weight').waitFor()
    await page.reload()
    await page.getByRole('dialog').getByText('trains', { exact: true }).waitFor()
    await page.keyboard.press('Escape')
    await visit(page, app.origin, 'settings')
    await page.getByRole('button', { name: `No longer search ${models}` }).click()
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByRole('button', { name: `No longer search ${models}` }).waitFor()
  })

  test(
    'an evaluation from its form: it runs, its scores are drawn, a verdict by hand counts',
    async () => {
      await visit(page, app.origin, 'evaluate')
      await page.getByRole('link', { name: 'New evaluation' }).first().click()
      await page.getByLabel(/^Runs/).fill('2')
      await page.getByLabel(/^Token budget/).fill('24')
      await page.getByLabel('Count').fill('6')
      await page.keyboard.press('Tab')
      await page.getByText('1 policy, 1 taskset, every task 2 times.').waitFor()
      await page.getByText('How long it takes is not known:').waitFor()
      await bothThemes(page, 'evaluate-form')
      await page.getByRole('button', { name: 'Add to the queue' }).click()
      await page.waitForURL(/#\/evaluate\/\w+/)
      await page.getByText('Done', { exact: true }).first().waitFor({ timeout: PATIENCE })
      await page.getByRole('img', { name: /^Accuracy over 2 runs/ }).waitFor()
      await bothThemes(page, 'evaluate-scores')
      await page.getByRole('tab', { name: 'Items and answers' }).click()
      await page.getByRole('region', { name: 'Tasks' }).getByRole('button').first().click()
      const was = await page.getByRole('region', { name: 'Tasks' }).getByRole('button').first().innerText()
      const verdict = /base 2\/2/.test(was) ? 'wrong' : 'correct'
      await page
        .getByRole('button', { name: `It is ${verdict}` })
        .first()
        .click()
      await page.getByText('by hand', { exact: true }).waitFor()
      await bothThemes(page, 'evaluate-items')
      await page.getByRole('tab', { name: 'Scores' }).click()
      await page.getByText('1 verdict given by hand counts in these scores.').waitFor()
      await visit(page, app.origin, 'evaluate?new=1')
      await page
        .getByText(/^About .* answers of about \d+ tokens, at the [\d,]+ tokens a second of "Evaluation of /)
        .waitFor()
    },
    PATIENCE + 60_000
  )

  test(
    'the doctor examines this machine; settings survive a reload',
    async () => {
      await visit(page, app.origin, 'settings?tab=doctor')
      await page.getByRole('button', { name: 'Run the doctor' }).click()
      await page.getByText('Done', { exact: true }).waitFor({ timeout: PATIENCE })
      await expect
        .poll(() => page.getByRole('region', { name: 'What the doctor said' }).innerText())
        .toContain('self-test')
      await bothThemes(page, 'settings-doctor')
      await page.getByRole('tab', { name: 'General' }).click()
      await page.getByLabel('Threads').fill('many')
      await page.keyboard.press('Tab')
      await page.getByText('A whole number of threads').waitFor()
      await page.getByLabel('Threads').fill('1')
      await page.keyboard.press('Tab')
      await page.reload()
      await expect.poll(() => page.getByLabel('Threads').inputValue()).toBe('1')
      await page.getByRole('tab', { name: /^About/ }).click()
      await page.getByText('Licences', { exact: true }).click()
      await bothThemes(page, 'settings-about')
      expect(tab.errors).toEqual([])
    },
    PATIENCE + 60_000
  )
})
