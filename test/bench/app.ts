/**
 * What the app costs: `npm run build:page && node test/bench/app.ts [--seconds 50]`. The app as `serve` with the system's
 * Chromium: first paint, page switches, memory; then a whole demo under it, with the run's page open and closed by turns while
 * GRPO trains: the host's share of a core, and what an open page does to the pace of training. Says figures; judges nothing.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Page } from 'playwright-core'
import { chromiumPath, openBrowser, openTab, startApp, visit } from '../e2e/served-app.ts'
import type { App } from '../e2e/served-app.ts'

const { values: options } = parseArgs({ options: { seconds: { type: 'string', default: '50' } } })
const WINDOW_MS = Number(options.seconds) * 1000
const PAGES = ['models', 'datasets', 'train', 'runs', 'compare', 'play', 'reward', 'evaluate', 'settings', 'home']
/** Clock ticks of /proc a second; fixed at 100 on Linux. */
const TICKS = 100

const say = (what: string, value: string): void => console.log(`${what.padEnd(56)}${value}`)
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Processor seconds of one process so far (not of its children). */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}
const residentMib = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024

async function pageFigures(page: Page, app: App): Promise<void> {
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime)
  say('first contentful paint of Home, fresh profile', `${paint?.toFixed(0)} ms`)
  const switches: number[] = []
  for (let round = 0; round < 3; round++) {
    for (const name of PAGES) {
      const started = performance.now()
      await visit(page, app.origin, name === 'home' ? '' : name)
      switches.push(performance.now() - started)
    }
  }
  say(`page switch, until its answers are shown (${switches.length})`, `median ${median(switches).toFixed(0)} ms, slowest ${Math.max(...switches).toFixed(0)} ms`) // prettier-ignore
}

type Step = { readonly time: number; readonly tokens: number; readonly seconds: number }

/** Steps of GRPO so far in the workspace's only run: when they ended, trained and sampled tokens, seconds. */
function steps(workspace: string): Step[] {
  const find = (folder: string): string | null => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue
      const path = join(folder, entry.name)
      const inside = entry.name === '3-grpo' ? join(path, 'events.jsonl') : find(path)
      if (inside !== null && existsSync(inside)) return inside
    }
    return null
  }
  const file = find(workspace)
  if (file === null) return []
  const found: Step[] = []
  let tokensBefore = 0
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (!line.includes('"kind":"step"')) continue
    const { time, metrics } = JSON.parse(line) as { time: number; metrics: Record<string, number> }
    found.push({ time, tokens: metrics['num_tokens']! - tokensBefore, seconds: metrics['step_time']! })
    tokensBefore = metrics['num_tokens']!
  }
  return found
}

if (chromiumPath === undefined) throw new Error('no Chromium here: name it in CHROMIUM')
const workspace = mkdtempSync(join(tmpdir(), 'reasonsmith-app-'))
const app = await startApp(workspace)
const browser = await openBrowser()
try {
  const { page, context } = await openTab(browser, app)
  await pageFigures(page, app)
  await visit(page, app.origin, '')
  await page.getByRole('button', { name: 'Run the demo' }).click()
  await page.waitForURL(/#\/runs\/\w+/)
  const runPage = page.url()
  while (steps(workspace).length < 2) await pause(1000)

  const windows: { open: boolean; from: number; until: number }[] = []
  let shown = page
  for (let turn = 0; turn < 4; turn++) {
    const open = turn % 2 === 0
    if (!open) await shown.close()
    else if (turn > 0) {
      shown = await context.newPage()
      await shown.goto(runPage)
    }
    await pause(2000)
    const [from, busy] = [Date.now(), processorSeconds(app.pid)]
    await pause(WINDOW_MS)
    const share = (processorSeconds(app.pid) - busy) / ((Date.now() - from) / 1000)
    windows.push({ open, from, until: Date.now() })
    say(`host, run's page ${open ? 'open' : 'closed'}: share of a core, resident`, `${(100 * share).toFixed(2)} %, ${residentMib(app.pid).toFixed(0)} MiB`) // prettier-ignore
    if (open) {
      const heap = await shown.evaluate(() => (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize) // prettier-ignore
      say('  heap of the page', heap === undefined ? 'unknown' : `${(heap / 2 ** 20).toFixed(0)} MiB`)
    }
  }
  const all = steps(workspace)
  const pace = (open: boolean): number => {
    const inside = all.filter(({ time, seconds }) => windows.some((w) => w.open === open && time - seconds * 1000 >= w.from && time <= w.until)) // prettier-ignore
    say(`steps with the page ${open ? 'open' : 'closed'}`, String(inside.length))
    return inside.reduce((sum, { tokens }) => sum + tokens, 0) / inside.reduce((sum, { seconds }) => sum + seconds, 0)
  }
  const [withPage, without] = [pace(true), pace(false)]
  say('tokens a second of whole steps, page open and closed', `${withPage.toFixed(1)} and ${without.toFixed(1)}`)
  say('training slowed by the open page', `${(100 * (1 - withPage / without)).toFixed(1)} %`)
} finally {
  await browser.close()
  await app.stop()
  rmSync(workspace, { recursive: true, force: true })
}
