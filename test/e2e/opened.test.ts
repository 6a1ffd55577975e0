/** What the desktop leads to when a file is opened there, and what tells of an end while nobody looks. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { placeOfFile } from '../../src/main/window/places.ts'
import { describeApp, served, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'
import { at } from './served-app.ts'

type Note = { title: string; body: string }
type Notes = { notes: Note[]; last: EventTarget }
const PATIENCE = 240_000

describeApp('a file that is opened from the desktop', () => {
  let app: App
  let tab: Tab
  let page: Page

  const folder = served({
    before: (path) => {
      mkdirSync(join(path, 'files'))
      cpSync(at('resources/base/base.gguf'), join(path, 'files', 'elsewhere.gguf'))
      writeFileSync(join(path, 'files', 'a b.csv'), 'question,answer\nWhat is 1+1?,2\n')
      writeFileSync(
        join(path, 'files', 'mine.yaml'),
        '# mine\nkind: sft\nbase: ./elsewhere.gguf\ntrain: ./traces.jsonl\nmax_steps: 7\n'
      )
    },
    ready: (it) => void ({ app, tab, page } = it)
  })
  const open = (name: string): Promise<void> =>
    visit(page, app.origin, placeOfFile(join(folder, 'files', name))!.slice('#/'.length))

  test('a recipe is laid out, its paths from where it lies', async () => {
    await open('mine.yaml')
    await expect.poll(() => page.getByLabel('Recipe as YAML').innerText()).toContain('# mine')
    expect(await page.getByLabel('Recipe as YAML').innerText()).toContain(join(folder, 'files', 'elsewhere.gguf'))
    expect(await page.getByLabel('Name of the run').inputValue()).toBe('mine')
  })

  test('a recipe is opened from the page too', async () => {
    await visit(page, app.origin, 'train?kind=grpo')
    await page.getByRole('button', { name: 'Presets' }).click()
    await page.getByRole('menuitem', { name: 'Open a recipe file…' }).click()
    const dialog = page.getByRole('dialog', { name: 'Open a recipe' })
    await dialog.getByRole('textbox').first().fill(join(folder, 'files'))
    await dialog.getByRole('button', { name: 'Go', exact: true }).click()
    await dialog.getByText('mine.yaml').click()
    await expect.poll(() => page.getByLabel('Recipe as YAML').innerText()).toContain('# mine')
  })

  test('data are looked at before they are imported', async () => {
    await open('a b.csv')
    const dialog = page.getByRole('dialog', { name: 'Import a b' })
    await dialog.getByText('1 row looked at, no problem found').waitFor()
    await page.keyboard.press('Escape')
  })

  test('a model is told about wherever it lies', async () => {
    await open('elsewhere.gguf')
    await page.getByRole('dialog').getByText('trains', { exact: true }).waitFor()
    await page.keyboard.press('Escape')
  })

  test('a file dropped beside its place changes nothing', async () => {
    await visit(page, app.origin, 'runs')
    const taken = await page.evaluate(() => {
      const data = new DataTransfer()
      data.items.add(new File(['x'], 'x.txt'))
      const drop = new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: data })
      document.querySelector('main')!.dispatchEvent(drop)
      return drop.defaultPrevented
    })
    expect(taken).toBe(true)
  })

  test(
    'a run that ends while nobody looks is told of by the browser; a click leads to it',
    async () => {
      await visit(page, app.origin, '')
      await page.evaluate(() => {
        const kept = globalThis as unknown as Notes & { Notification: unknown }
        kept.notes = []
        kept.Notification = class extends EventTarget {
          static readonly permission = 'granted'
          constructor(title: string, { body }: { body: string }) {
            super()
            kept.notes.push({ title, body })
            kept.last = this
          }
          close(): void {}
        }
        document.hasFocus = () => false
      })
      await page.getByRole('button', { name: 'Run the self-test' }).click()
      const notes = (): Promise<Note[]> => page.evaluate(() => (globalThis as unknown as Notes).notes)
      await expect.poll(notes, { timeout: PATIENCE }).toHaveLength(1)
      expect((await notes())[0]!.title).toBe('Doctor is done')
      await visit(page, app.origin, 'settings')
      await page.evaluate(() => (globalThis as unknown as Notes).last.dispatchEvent(new Event('click')))
      await page.waitForURL(/#\/runs\/\w+/)
      // Who looks needs no telling.
      await page.evaluate(() => (document.hasFocus = () => true))
      await visit(page, app.origin, '')
      await page.getByRole('button', { name: /self-test|Test again/ }).click()
      await page.waitForURL(/#\/runs\/\w+/)
      await page.getByText('Done', { exact: true }).first().waitFor({ timeout: PATIENCE })
      expect(await notes()).toHaveLength(1)
      expect(tab.errors).toEqual([])
    },
    2 * PATIENCE
  )
})
