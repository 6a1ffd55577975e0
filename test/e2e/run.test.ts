/** A first start, a demo watched live, its groups, a comparison, what can be taken away; then a worker that is killed. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bothThemes, describeApp, served, openTab, picture, seriousFaults, visit } from './rig.ts'
import type { App, Tab } from './rig.ts'

/** A short demo takes half a minute alone on a machine, several on one that is busy. */
const PATIENCE = 400_000

/** The processes under a process, by the system's own list. */
const childrenOf = (pid: number): number[] => {
  try {
    return execFileSync('pgrep', ['-P', String(pid)])
      .toString()
      .trim()
      .split('\n')
      .map(Number)
  } catch {
    return []
  }
}

const state = (page: Page): Promise<string> => page.locator('main header').innerText()
const tab = (page: Page, name: string): Promise<void> => page.getByRole('tab', { name }).click()
const idIn = (page: Page): string | undefined => /runs\/(\w+)/.exec(page.url())?.[1]
/** How many steps of the newest demo have a loss: all of SFT, and of GRPO those that had something to learn from. */
const stepsWithLoss = (workspace: string): number => {
  const demo = join(workspace, 'runs', readdirSync(join(workspace, 'runs')).sort().at(-1)!)
  const steps = ['2-sft', '3-grpo'].flatMap((stage) =>
    readFileSync(join(demo, stage, 'events.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; step?: number; metrics?: { loss?: number } })
      .filter(({ kind, metrics }) => kind === 'step' && typeof metrics?.loss === 'number')
      .map(({ step }) => `${stage}/${step}`)
  )
  return new Set(steps).size
}
const startShortDemo = async (page: Page): Promise<string> => {
  const before = idIn(page)
  await page.keyboard.press('Control+k')
  await page.getByPlaceholder('Go to, do, find a run…').fill('short demo')
  await page.getByRole('option', { name: 'Run the short demo' }).click()
  await expect.poll(() => idIn(page)).not.toBe(before)
  return idIn(page)!
}

describeApp('a run in the browser', () => {
  let app: App
  let browser: Browser
  let first: Tab
  let demo = ''

  const folder = served({
    ready: (it) => {
      app = it.app
      browser = it.browser
      first = it.tab
    }
  })

  test('first start: one button shows the whole recipe', async () => {
    const { page } = first
    await page.getByRole('button', { name: 'Run the demo' }).waitFor()
    await picture(page, 'home-first-start', 'light')
    const faults = await seriousFaults(page)
    await page.getByRole('button', { name: 'Short demo' }).click()
    await page.waitForURL(/#\/runs\/\w+/)
    demo = /runs\/(\w+)/.exec(page.url())![1]!
    expect(faults).toEqual([])
  })

  test(
    'live: steps come by themselves, a reload and a second tab show the same',
    async () => {
      const { page } = first
      await page.getByRole('figure', { name: /^Loss\. training: [1-9]/ }).waitFor({ timeout: PATIENCE })
      const second = await openTab(browser, app, 'dark')
      await visit(second.page, app.origin, `runs/${demo}`)
      await page.reload()
      for (const { page } of [first, second]) {
        await page.getByRole('figure', { name: /^Loss\. training: [3-9]/ }).waitFor({ timeout: PATIENCE })
        await page.getByText('Done', { exact: true }).first().waitFor({ timeout: PATIENCE })
        // Every step, whoever came when.
        const steps = stepsWithLoss(folder)
        expect(steps).toBeGreaterThanOrEqual(6)
        expect(await page.getByRole('figure', { name: /^Loss\./ }).getAttribute('aria-label')).toContain(
          `training: ${steps} points`
        )
      }
      expect(second.errors).toEqual([])
      await second.context.close()
    },
    2 * PATIENCE
  )

  test('the group explorer shows every rollout of any step, with its reward taken apart', async () => {
    const { page } = first
    await tab(page, 'Group explorer')
    const rollouts = page.getByRole('list', { name: 'Rollouts' })
    await rollouts.waitFor()
    expect(await rollouts.getByRole('listitem').count()).toBe(4)
    expect(
      await page
        .getByRole('navigation', { name: /Groups of step/ })
        .getByRole('listitem')
        .count()
    ).toBe(4)
    const words = await page.locator('main').innerText()
    expect(words).toMatch(/no gradient from this group|It pushes towards/)
    expect(words).toMatch(/accuracy\s+[−\d.]+\s+× 0\.6154\s+[+−\d.]+/)
    expect(words).toMatch(/reward: the sum of the contributions/)
    expect(words).toMatch(/advantage in its group/)
    await page.getByRole('switch', { name: 'Token heat' }).click()
    await page.getByText('Tokens, shaded where the policy was unsure').waitFor()
    await page.getByRole('button', { name: 'Step before' }).click()
    await expect.poll(() => page.url()).toMatch(/step=8/)
    await page.reload()
    await expect.poll(() => page.getByRole('spinbutton', { name: 'Step' }).inputValue()).toBe('8')
  })

  test('every other part of the run shows what the run did', async () => {
    const { page } = first
    await tab(page, 'Scores')
    await page.getByText('not distinguishable').first().waitFor()
    await tab(page, 'Terminal')
    await page.getByText('This is all the run printed.').waitFor()
    await tab(page, 'Checkpoints')
    await page.getByRole('button', { name: 'Ask it' }).first().waitFor()
    await tab(page, 'Notes and tags')
    await page.getByRole('textbox', { name: 'Tags' }).fill('paper')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByRole('button', { name: 'Remove the tag paper' }).waitFor()
  })

  test('what can be taken away: points, pictures, the report', async () => {
    const { page } = first
    await tab(page, 'Overview')
    const saved = async (press: () => Promise<unknown>): Promise<string> => {
      const [download] = await Promise.all([page.waitForEvent('download'), press()])
      return readFileSync(await download.path(), 'latin1')
    }
    const csv = await saved(() => page.getByRole('button', { name: 'All points as CSV' }).click())
    expect(csv.split('\n')[0]).toMatch(/^step,.*loss/)
    const from = async (kind: string): Promise<string> => {
      await page.getByRole('button', { name: 'Save Loss as…' }).click()
      return saved(() => page.getByRole('menuitem', { name: kind }).click())
    }
    expect(await from('CSV')).toMatch(/^step,training,held out\n1,/)
    expect(await from('SVG')).toMatch(/^<svg .*Loss/s)
    expect((await from('PNG')).slice(1, 4)).toBe('PNG')
    await page.getByRole('button', { name: 'Report' }).click()
    await page.frameLocator('iframe[title=Report]').getByRole('heading').first().waitFor()
    expect(await saved(() => page.getByRole('button', { name: 'HTML' }).click())).toMatch(/<html/)
    await page.keyboard.press('Escape')
  })

  test(
    'an adapter is merged into its base: asked for on the Models page, its files say what they are for',
    async () => {
      const { page } = first
      await visit(page, app.origin, 'models?tab=adapters')
      const row = page.getByRole('listitem').filter({ hasText: 'Short demo: grpo' })
      await expect.poll(() => row.count()).toBe(1)
      await page.getByRole('button', { name: 'Merge…' }).first().click() // of sft
      const dialog = page.getByRole('dialog', { name: /^Merge/ })
      await dialog.getByText('After SFT').waitFor()
      await page.keyboard.press('Escape')
      await row.getByRole('button', { name: 'Merge…' }).click()
      await dialog.getByText('After GRPO').waitFor()
      await dialog.getByRole('checkbox', { name: 'Q8_0' }).click()
      await dialog.getByText(/It will hold .*the merged model, merged-Q8_0\.gguf/).waitFor()
      expect(await seriousFaults(page)).toEqual([])
      await dialog.getByRole('button', { name: 'Merge and export' }).click()
      await page.getByText('Done', { exact: true }).first().waitFor({ timeout: PATIENCE })
      await page.getByRole('cell', { name: 'merged-F16.gguf', exact: true }).waitFor()
      await page.getByText('base and adapter in one, quantised to Q8_0').waitFor()
      expect(await seriousFaults(page)).toEqual([])
      const folder = await page.locator('main code').first().innerText()
      expect(readdirSync(folder)).toEqual(
        expect.arrayContaining(['adapter.gguf', 'merged-F16.gguf', 'merged-Q8_0.gguf'])
      )
      // A browser tab has no file manager to open.
      expect(await page.getByRole('button', { name: 'Show in folder' }).count()).toBe(0)
      await visit(page, app.origin, 'models?tab=adapters')
      await row.getByText('Done', { exact: true }).waitFor()
      const sft = page.getByRole('listitem').filter({ hasText: 'Short demo: sft', hasNotText: 'Short demo: grpo' })
      expect(await sft.count()).toBe(1)
      expect(await sft.getByText('Done').count()).toBe(0)
    },
    PATIENCE
  )

  test(
    'a killed worker: the run says so, keeps what was recorded, and goes on from its checkpoint',
    async () => {
      const { page } = first
      const id = await startShortDemo(page)
      const checkpoint = (): boolean => {
        const runs = readdirSync(join(folder, 'runs')).sort()
        return existsSync(join(folder, 'runs', runs.at(-1)!, '2-sft', 'checkpoint-3', 'manifest.json'))
      }
      await expect.poll(checkpoint, { timeout: PATIENCE, interval: 20 }).toBe(true)
      for (const pid of childrenOf(app.pid)) process.kill(pid, 'SIGKILL')
      await page.getByRole('alert').filter({ hasText: 'The worker crashed' }).waitFor()
      await picture(page, 'run-crashed', 'light')
      expect(await state(page)).toMatch(/Crashed/)
      await page.getByRole('figure', { name: /^Loss\. training: [3-9]/ }).waitFor()
      await page.getByRole('button', { name: 'Resume' }).click()
      await page.getByText('Done', { exact: true }).first().waitFor({ timeout: PATIENCE })
      expect(await page.getByRole('figure', { name: /^Loss\./ }).getAttribute('aria-label')).toContain(
        `training: ${stepsWithLoss(folder)} points`
      )
      expect(idIn(page)).toBe(id)
    },
    2 * PATIENCE
  )

  test('compare: what was set differently, the curves, and a test that says when there is no difference', async () => {
    const { page } = first
    await visit(page, app.origin, 'runs')
    for (const box of await page.getByRole('checkbox', { name: 'Choose Short demo' }).all()) await box.click()
    await page.getByRole('button', { name: 'Compare' }).click()
    await page.getByText('not distinguishable').first().waitFor()
    await page.getByRole('figure', { name: /^Loss, training\. Short demo \(1\): .* Short demo \(2\): / }).waitFor()
    await bothThemes(page, 'compare')
    expect(first.errors).toEqual([])
  })

  test('the trash takes runs and gives them back', async () => {
    const { page } = first
    await visit(page, app.origin, 'runs')
    await page.getByRole('checkbox', { name: 'Choose Short demo' }).first().click()
    await page.getByRole('button', { name: 'Trash' }).click()
    await page.getByText('is in the trash').waitFor()
    await expect.poll(() => page.getByRole('checkbox', { name: 'Choose Short demo' }).count()).toBe(1)
    await page.getByRole('button', { name: 'Undo' }).click()
    await expect.poll(() => page.getByRole('checkbox', { name: 'Choose Short demo' }).count()).toBe(2)
  })
})
