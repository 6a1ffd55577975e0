/** A recipe as form and YAML: both ways in sync, faults at their line, a plan, and a run again with changes. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bothThemes, describeApp, served, picture, seriousFaults, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

const TRACES = Array.from({ length: 8 }, (_, i) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: `Compute ${i}+1.` },
      { role: 'assistant', content: `<think>\nplus one\n</think>\n\\boxed{${i + 1}}` }
    ]
  })
).join('\n')

describeApp('the train page', () => {
  let app: App
  let tab: Tab
  let page: Page

  const folder = served({
    before: (path) => writeFileSync(join(path, 'traces.jsonl'), TRACES),
    ready: (it) => void ({ app, tab, page } = it)
  })

  const yaml = (): Promise<string> => page.locator('.cm-content').innerText()
  const setting = (path: string) => page.locator(`[data-setting="${path}"]`)
  const valid = (): Promise<void> => page.getByText('valid', { exact: true }).waitFor()

  test('a link brings a preset with its material; the form writes the YAML and keeps its comments', async () => {
    await visit(page, app.origin, `train?kind=sft&train=${encodeURIComponent(join(folder, 'traces.jsonl'))}`)
    await valid()
    expect(await yaml()).toContain('leave out for full passes')
    await setting('max_steps').getByRole('textbox').fill('7')
    await page.keyboard.press('Tab')
    await expect.poll(yaml).toContain('max_steps: 7 # leave out for full passes')
    await setting('max_steps').getByRole('button', { name: 'Without max_steps' }).click()
    await expect.poll(yaml).not.toContain('max_steps')
    await valid()
    await page.getByText(/^Fits:/).waitFor()
    expect(await page.getByText('The recipe is valid and its files are there.').count()).toBe(1)
    await bothThemes(page, 'train-form')
  })

  test('the YAML writes the form; a fault stands at its line and at its setting, and nothing starts', async () => {
    await page.locator('.cm-content').click()
    await page.keyboard.press('Control+End')
    await page.keyboard.type('train_batch_sizes: 4\n')
    await page.getByText('1 problem', { exact: true }).waitFor()
    expect(await page.getByRole('button', { name: 'Start', exact: true }).isDisabled()).toBe(true)
    expect(await page.locator('.cm-lintRange-error, .cm-lint-marker-error').count()).toBeGreaterThan(0)
    await page
      .getByRole('region', { name: 'About the run' })
      .getByText(/line \d+:/)
      .waitFor()
    for (let i = 0; i < 'train_batch_sizes: 4\n'.length; i++) await page.keyboard.press('Backspace')
    await valid()
    await page.keyboard.type('held_out_share: 0.5')
    await expect.poll(() => setting('held_out_share').getByRole('textbox').inputValue()).toBe('0.5')
  })

  test('what is no value is said at once, and is not written', async () => {
    const box = setting('held_out_share').getByRole('textbox')
    await box.fill('half')
    await page.keyboard.press('Tab')
    await setting('held_out_share').getByText('held_out_share is a number').waitFor()
    expect(await yaml()).toContain('held_out_share: 0.5')
    expect(await page.getByRole('button', { name: 'Start', exact: true }).isDisabled()).toBe(true)
    await box.fill('0.25')
    await page.keyboard.press('Tab')
    await expect.poll(yaml).toContain('held_out_share: 0.25')
    await valid()
  })

  test('target modules are ticked and written; the list in the YAML ticks them', async () => {
    await page.getByText('Adapter', { exact: true }).first().click()
    const modules = setting('lora.target_modules')
    await modules.getByRole('checkbox', { name: 'down_proj' }).click()
    await expect.poll(yaml).toContain('target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj]')
    await valid()
    await page.locator('.cm-line', { hasText: 'target_modules' }).click()
    await page.keyboard.press('Home')
    await page.keyboard.press('Shift+End')
    await page.keyboard.insertText('target_modules: [q_proj]')
    await expect.poll(() => modules.getByRole('checkbox', { checked: true }).count()).toBe(1)
    expect(await modules.getByRole('checkbox', { name: 'q_proj' }).isDisabled()).toBe(true)
    await modules.getByRole('checkbox', { name: 'all-linear' }).click()
    await expect.poll(yaml).not.toContain('target_modules')
    await valid()
  })

  test('tokens to train are added by text or id and written; the list in the YAML shows them', async () => {
    const field = setting('lora.trainable_token_indices')
    const box = field.getByRole('textbox')
    await box.fill('<think>')
    await page.keyboard.press('Enter')
    await expect.poll(yaml).toContain('trainable_token_indices: [<think>]')
    await box.fill('5')
    await field.getByRole('button', { name: 'Add' }).click()
    await expect.poll(yaml).toContain('trainable_token_indices: [<think>, 5]')
    await valid()
    await bothThemes(page, 'train-tokens')
    await field.getByRole('button', { name: 'Without token <think>' }).click()
    await expect.poll(yaml).toContain('trainable_token_indices: [5]')
    await page.locator('.cm-line', { hasText: 'trainable_token_indices' }).click()
    await page.keyboard.press('Home')
    await page.keyboard.press('Shift+End')
    await page.keyboard.insertText('trainable_token_indices: ["</think>", 7]')
    await field.getByRole('listitem').filter({ hasText: '</think>' }).waitFor()
    expect(await field.getByRole('listitem').allInnerTexts()).toHaveLength(2)
    await field.getByRole('button', { name: 'Back to the default' }).click()
    await expect.poll(yaml).not.toContain('trainable_token_indices')
    await valid()
  })

  test('every weight: LoRA’s settings go, the rate’s default follows, a base that is not F32 is told at the field', async () => {
    const field = setting('finetuning_type')
    await field.getByRole('combobox').click()
    await page.getByRole('option', { name: 'full' }).click()
    await expect.poll(yaml).toContain('finetuning_type: full')
    // what the preset wrote of lora stays to be seen until it is taken back
    await setting('lora.r').getByText('belongs to finetuning_type: lora').waitFor()
    await setting('lora.r').getByRole('button', { name: 'Back to 16' }).click()
    await setting('lora.lora_alpha').getByRole('button', { name: 'Back to 32' }).click()
    await expect.poll(() => page.getByText('Adapter', { exact: true }).count()).toBe(0)
    await field.getByText(/must be lora on this base, whose token_embd\.weight is F16/).waitFor()
    expect(await setting('adapter').count()).toBe(0)
    await expect.poll(() => setting('optimizer.learning_rate').getByText('default 1e-5').count()).toBe(1)
    await bothThemes(page, 'train-every-weight')
    await field.getByRole('button', { name: 'Back to lora' }).click()
    await expect.poll(yaml).not.toContain('finetuning_type')
    await page.getByText('Adapter', { exact: true }).waitFor()
    await expect.poll(() => setting('optimizer.learning_rate').getByText('default 2e-4').count()).toBe(1)
    await valid()
  })

  test('settings are found by search; GRPO shows its reward by length', async () => {
    await visit(page, app.origin, 'train?kind=grpo')
    await valid()
    await page.getByLabel('Search settings').fill('clip-higher')
    await setting('epsilon_high').waitFor()
    expect(await page.locator('[data-setting]').count()).toBe(1)
    await page.getByLabel('Search settings').fill('')
    await page.getByRole('tab', { name: 'Reward by length' }).click()
    await page.getByRole('img', { name: /^Accuracy reward by response length up to 128 tokens/ }).waitFor()
    await picture(page, 'train-grpo', 'dark')
    expect(await seriousFaults(page)).toEqual([])
  })

  test('two recipes wait in the queue; one is laid out again with changes', async () => {
    await page.evaluate(() => localStorage.clear())
    await visit(page, app.origin, `train?kind=sft&train=${encodeURIComponent(join(folder, 'traces.jsonl'))}`)
    await valid()
    for (const name of ['first', 'second']) {
      await page.getByLabel('Name of the run').fill(name)
      await page.getByRole('button', { name: 'Queue and stay' }).click()
      await page.getByText(`${name} is in the queue.`).waitFor()
    }
    await visit(page, app.origin, 'runs')
    await page.getByRole('link', { name: 'second' }).first().click()
    await page.waitForURL(/#\/runs\/\w+/)
    const id = /runs\/(\w+)/.exec(page.url())![1]!
    await visit(page, app.origin, `train?from=${id}`)
    await page.getByText('With the settings of second').waitFor()
    await valid()
    expect(await yaml()).not.toContain('output_dir')
    expect(tab.errors).toEqual([])
  })
})
