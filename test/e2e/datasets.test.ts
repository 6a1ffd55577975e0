/** A file is dropped, looked at before it is kept, read, cleaned, split, thrown away and taken back. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bothThemes, describeApp, served, picture, seriousFaults, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

const sum = (i: number): string => JSON.stringify({ query: `What is ${i}+${i}?`, correct: String(2 * i) })
/** Twelve good rows, a line that is no JSON (4), one without a question (8), one that repeats the first (15). */
const TASKS = [
  ...[0, 1, 2].map(sum),
  '{"query": "broken',
  ...[3, 4, 5].map(sum),
  JSON.stringify({ query: '', correct: '3' }),
  ...[6, 7, 8, 9, 10, 11].map(sum),
  sum(0)
].join('\n')
/** Enough that a split takes a while; every other row repeats the one before. */
const MANY = Array.from({ length: 60_000 }, (_, i) =>
  JSON.stringify({ prompt: `What is ${i >> 1} and one?`, solution: String((i >> 1) + 1) })
).join('\n')
const TRACES = Array.from({ length: 30 }, (_, i) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: `Compute ${i}+1.` },
      { role: 'assistant', content: `<think>\n${i} and one more is ${i + 1}.\n</think>\n\\boxed{${i + 1}}` }
    ]
  })
).join('\n')

describeApp('datasets', () => {
  let app: App
  let tab: Tab
  let page: Page

  const folder = served({
    before: (path) => {
      mkdirSync(join(path, 'files'))
      writeFileSync(join(path, 'files', 'sums.jsonl'), TASKS)
      writeFileSync(join(path, 'files', 'traces.jsonl'), TRACES)
      writeFileSync(join(path, 'files', 'empty.jsonl'), '')
      writeFileSync(join(path, 'files', 'many.jsonl'), MANY)
    },
    ready: (it) => void ({ app, tab, page } = it)
  })
  const files = join(folder, 'files')

  const drop = (name: string): Promise<void> => page.setInputFiles('input[type=file]', join(files, name))
  const choose = async (label: RegExp, option: string | RegExp): Promise<void> => {
    await page.getByRole('dialog').getByLabel(label).click()
    await page.getByRole('option', { name: option }).click()
  }

  test('a file of an unknown form: the person says which column plays which part, bad lines are named', async () => {
    await visit(page, app.origin, 'datasets')
    await drop('sums.jsonl')
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Choose a format').waitFor()
    await choose(/^Format/, /^Prompt and solution/)
    await choose(/^solution/, 'correct')
    await dialog.getByText('What is 0+0?').nth(1).waitFor()
    expect(await dialog.getByRole('button', { name: 'Import', exact: true }).isEnabled()).toBe(true)
    await dialog.getByText('rows would be left out').click()
    expect(await dialog.getByText('line 4:').count()).toBe(1)
    await picture(page, 'datasets-import', 'light')
    expect(await seriousFaults(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Import', exact: true }).click()
    await page.getByRole('dialog', { name: '2 rows left out' }).getByText('line 8:').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'To the dataset' }).click()
    await page.getByRole('heading', { level: 1, name: 'sums' }).waitFor()
    expect(await page.getByText('1 duplicate').count()).toBe(1)
  })

  test('an empty file is refused with a sentence', async () => {
    await visit(page, app.origin, 'datasets')
    await drop('empty.jsonl')
    await page.getByRole('dialog').getByRole('alert').waitFor()
    await page.keyboard.press('Escape')
  })

  test('rows are found by search; without duplicates one is fewer; a split has two parts', async () => {
    await visit(page, app.origin, 'datasets')
    await page.getByRole('link', { name: 'sums' }).waitFor()
    expect(await page.locator('main').innerText()).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/)
    await page.getByRole('link', { name: 'sums' }).click()
    await page.getByLabel('Search rows').fill('9+9')
    await page.getByText('1 row', { exact: true }).waitFor()
    await page.getByLabel('Search rows').fill('')
    await page.getByText('13 rows', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Without duplicates' }).click()
    await page.getByText('12 rows', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Split…' }).click()
    await page.getByLabel('Held out').fill('25')
    await page.getByText('9 to train on, 3 held out').waitFor()
    await page.getByRole('button', { name: 'Split', exact: true }).click()
    await page.getByRole('heading', { level: 1, name: 'Datasets' }).waitFor()
    await expect.poll(() => page.locator('tbody tr').count()).toBe(4)
  })

  test('a long split and a long deduplication say how far they are and can be cancelled: nothing of them stays', async () => {
    await visit(page, app.origin, 'datasets')
    await drop('many.jsonl')
    await page.getByRole('dialog').getByRole('button', { name: 'Import', exact: true }).click()
    await page.getByRole('heading', { level: 1, name: 'many' }).waitFor()
    const before = readdirSync(join(folder, 'datasets')).sort()
    await page.getByRole('button', { name: 'Split…' }).click()
    await page.getByRole('button', { name: 'Split', exact: true }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText(/^Splitting: [1-9][\d,]* of 60,000 rows$/).waitFor()
    await picture(page, 'dataset-splitting', 'light')
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    await expect.poll(() => dialog.count()).toBe(0)
    await expect.poll(() => readdirSync(join(folder, 'datasets')).sort()).toEqual(before)
    await page.getByRole('button', { name: 'Without duplicates' }).click()
    await page.getByText(/^Leaving out duplicates: [1-9][\d,]* of 60,000 rows$/).waitFor()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await expect.poll(() => page.getByRole('button', { name: 'Without duplicates' }).isEnabled()).toBe(true)
    await expect.poll(() => readdirSync(join(folder, 'datasets')).sort()).toEqual(before)
    expect(await page.getByRole('alert').count()).toBe(0)
    await visit(page, app.origin, 'datasets')
    expect(await page.getByRole('link', { name: /^many \(/ }).count()).toBe(0)
  })

  test('a page that was just left no longer changes the address', async () => {
    await visit(page, app.origin, 'datasets')
    await page.getByRole('link', { name: 'sums' }).first().click()
    const tab = page.getByRole('tab', { name: 'Token lengths' })
    await tab.waitFor()
    // The browser tells of a new address a moment later; in between something of the old page writes its own.
    await tab.evaluate((it) => {
      location.hash = '#/models'
      ;(it as unknown as { click: () => void }).click()
    })
    await page.getByRole('heading', { level: 1, name: 'Models' }).waitFor()
    expect(new URL(page.url()).hash).toBe('#/models')
  })

  test('traces: tokens show what is trained on, lengths stand against the context', async () => {
    await visit(page, app.origin, 'datasets')
    await drop('traces.jsonl')
    await page.getByRole('dialog').getByRole('button', { name: 'Import', exact: true }).click()
    await page.getByRole('heading', { level: 1, name: 'traces' }).waitFor()
    await page.getByRole('region', { name: 'Rows' }).getByText('Compute 3+1.').click()
    await page.getByRole('tab', { name: 'Tokens' }).click()
    await page.getByText(/tokens, \d+ trained on/).waitFor()
    const trained = page.locator('span[title$=", trained on"]')
    expect((await trained.allInnerTexts()).join('')).toContain('3 and one more is 4.')
    expect((await trained.allInnerTexts()).join('')).not.toContain('Compute')
    await bothThemes(page, 'dataset-tokens')
    await page.getByRole('tab', { name: 'Token lengths' }).click()
    await page.getByText(/All 30 counted samples fit into/).waitFor()
    await picture(page, 'dataset-lengths', 'dark')
    expect(await seriousFaults(page)).toEqual([])
    await page.reload()
    await page.getByText(/All 30 counted samples fit into/).waitFor()
  })

  test('the trash gives back; an export is the rows', async () => {
    await visit(page, app.origin, 'datasets')
    const menu = page.getByRole('button', { name: 'More to do with traces' })
    await menu.click()
    const download = page.waitForEvent('download')
    await page.getByRole('menuitem', { name: 'Export as JSONL' }).click()
    const lines = readFileSync(await (await download).path(), 'utf8')
      .trim()
      .split('\n')
    expect(lines).toHaveLength(30)
    await menu.click()
    await page.getByRole('menuitem', { name: 'To the trash' }).click()
    await expect.poll(() => page.getByRole('link', { name: 'traces' }).count()).toBe(0)
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByRole('link', { name: 'traces' }).waitFor()
    expect(tab.errors).toEqual([])
  })
})
