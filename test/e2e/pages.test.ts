/** Every page in both themes, empty and with a finished run, its tabs and drawers too: no serious accessibility fault, a picture of each. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { client, describeApp, served, openTab, picture, seriousFaults, THEMES, visit } from './rig.ts'
import type { App } from './rig.ts'

const PAGES = ['', 'train', 'runs', 'compare', 'evaluate', 'models', 'datasets', 'play', 'reward', 'settings'] as const
const TABS = ['overview', 'scores', 'terminal', 'groups', 'checkpoints', 'settings', 'notes'] as const
const TRACES = Array.from({ length: 30 }, (_, i) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: `Compute ${i % 28}+1.` },
      {
        role: 'assistant',
        content: `<think>\n${i % 28} and one more is ${(i % 28) + 1}.\n</think>\n\\boxed{${(i % 28) + 1}}`
      }
    ]
  })
).join('\n')
const THOUGHT =
  'First 17 and 24: that makes 41.\n\nThen 8 less: $41 - 8 = 33$.\n\nLet me check: 33 and 8 make 41 again.'

type View = { readonly name: string; readonly at: string; readonly open?: (page: Page) => Promise<void> }
const inTab = (page: Page, name: RegExp): Promise<void> => page.getByRole('dialog').getByRole('tab', { name }).click()
/** What the pages do not show by themselves. DATASET, TRACE and BASE stand for what was made. */
const VIEWS: readonly View[] = [
  { name: 'settings-doctor-idle', at: 'settings?tab=doctor' },
  { name: 'settings-about-all', at: 'settings?tab=about', open: (page) => page.getByText('Licences', { exact: true }).click() },
  { name: 'models-adapters', at: 'models?tab=adapters' },
  { name: 'model-drawer-base', at: 'models?model=BASE', open: (page) => page.getByRole('dialog').getByText('trains', { exact: true }).waitFor() },
  { name: 'model-drawer-tensors', at: 'models?model=BASE', open: (page) => inTab(page, /^Tensors/) },
  { name: 'merge-dialog', at: 'models?tab=adapters', open: (page) => page.getByRole('button', { name: 'Merge…' }).first().click() },
  { name: 'dataset-rows', at: 'datasets/DATASET' },
  { name: 'dataset-row-drawer', at: 'datasets/DATASET?row=3' },
  { name: 'dataset-length-tab', at: 'datasets/DATASET?tab=lengths', open: (page) => page.getByText(/counted samples fit into/).waitFor() },
  { name: 'dataset-split', at: 'datasets/DATASET', open: (page) => page.getByRole('button', { name: 'Split…' }).click() },
  { name: 'play-saved', at: 'play/saved' },
  { name: 'play-trace', at: 'play/saved/TRACE' },
  { name: 'play-present-question', at: 'play/saved/TRACE/present' },
  { name: 'play-present-thought', at: 'play/saved/TRACE/present', open: async (page) => { for (let i = 0; i < 2; i++) await page.keyboard.press('ArrowRight') } },
  { name: 'play-present-answer', at: 'play/saved/TRACE/present', open: (page) => page.keyboard.press('End') },
  { name: 'evaluate-new', at: 'evaluate?new=1', open: (page) => page.getByText(/^How long it takes|^About .*:|^Perhaps .*:/).waitFor() },
  { name: 'run-chart-large', at: 'runs/RUN?tab=overview', open: (page) => page.getByRole('button', { name: 'Enlarge Loss' }).click() }
] // prettier-ignore
/** Data that is drawn rather than written needs a moment. */
const SETTLE = 700

describeApp('every page', () => {
  let app: App
  let browser: Browser
  let run = ''
  let made: Readonly<Record<string, string>> = {}

  const folder = served({
    before: (path) => writeFileSync(join(path, 'traces.jsonl'), TRACES),
    ready: (it) => void ({ app, browser } = it)
  })

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

  test('a dataset and a trace to look at', async () => {
    const { api, close } = await client(app)
    const path = join(folder, 'traces.jsonl')
    const { format, mapping } = await api.datasets.preview({ path })
    const { dataset } = await api.datasets.import({ path, name: 'Sums, one more', format: format!, mapping })
    const answers = [
      { policy: 'Short demo: grpo', thinking: THOUGHT, answer: '\\boxed{33}', tokens: 48, stop: 'eos' },
      { policy: 'base', thinking: '', answer: 'It is 33.', tokens: 1024, stop: 'length' }
    ]
    const trace = await api.play.save({ title: 'Compute 17+24-8.', prompt: 'Compute 17+24-8.', answers })
    const { models } = await api.models.list({})
    close()
    made = { DATASET: dataset.id, TRACE: trace.id, BASE: encodeURIComponent(models[0]!.path), RUN: run }
  })

  for (const theme of THEMES) {
    test.for(VIEWS)(`$name, ${theme}`, async ({ name, at, open }) => {
      const { page, errors, context } = await openTab(browser, app, theme)
      const hash = Object.entries(made).reduce((text, [word, value]) => text.replace(word, value), at)
      await visit(page, app.origin, hash)
      await open?.(page)
      await page.waitForTimeout(SETTLE)
      await picture(page, name, theme)
      expect(await seriousFaults(page)).toEqual([])
      expect(errors).toEqual([])
      await context.close()
    })
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
