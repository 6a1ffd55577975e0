/**
 * What the app costs: `npm run build:page && node test/bench/app.ts [--seconds 30]`, on a machine that does nothing else. The
 * app as `serve` with the system's Chromium: first paint, page switches; a demo under it, with the page of the run open and
 * closed by turns while GRPO trains: the host's share of a core, memory; then an SFT whose steps are all the same work, for the
 * pace of training with the page open and closed. Says figures; judges nothing.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { BrowserContext, Page } from 'playwright-core'
import { chromiumPath, openBrowser, openTab, startApp, visit } from '../e2e/served-app.ts'
import type { App } from '../e2e/served-app.ts'

const { values: options } = parseArgs({ options: { seconds: { type: 'string', default: '30' } } })
const WINDOW_MS = Number(options.seconds) * 1000
/** Turns of open and closed: the demo's stage of GRPO is short, the SFT is as long as it must be. */
const DEMO_TURNS = 4
const SFT_TURNS = 10
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

/** Processor seconds so far of everything that descends from this process and not from the app: the browser. */
function browserSeconds(app: App): number {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc').filter((it) => /^\d+$/.test(it))) {
    try {
      const parent = Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]!.split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // ended while being read
    }
  }
  const sum = (pid: number): number => {
    if (pid === app.pid) return 0
    const own = pid === process.pid ? 0 : processorSeconds(pid)
    return own + (children.get(pid) ?? []).reduce((total, child) => total + sum(child), 0)
  }
  return sum(process.pid)
}

type Step = { readonly time: number; readonly seconds: number }

/** Steps so far of the run whose folder's name ends in `stage`: when they ended, and how long they took. */
function steps(workspace: string, stage: string): Step[] {
  const files = readdirSync(workspace, { recursive: true, encoding: 'utf8' })
  const file = files.find((path) => path.endsWith('events.jsonl') && path.includes(stage))
  if (file === undefined) return []
  const lines = readFileSync(join(workspace, file), 'utf8').split('\n')
  return lines
    .filter((line) => line.includes('"kind":"step"'))
    .map((line) => JSON.parse(line) as { time: number; metrics: Record<string, number> })
    .map(({ time, metrics }) => ({ time, seconds: metrics['step_time']! }))
}

type Window = { readonly open: boolean; readonly from: number; readonly until: number }

/** Opens and closes the page of a run by turns, and says what host and browser took meanwhile. */
async function byTurns(context: BrowserContext, runPage: string, app: App, turns: number): Promise<Window[]> {
  const windows: Window[] = []
  for (let turn = 0; turn < turns; turn++) {
    const open = turn % 2 === 0
    const page = open ? await context.newPage() : null
    await page?.goto(runPage)
    await pause(2000)
    const [from, host, browser] = [Date.now(), processorSeconds(app.pid), browserSeconds(app)]
    await pause(WINDOW_MS)
    const share = (seconds: number): string => `${((100_000 * seconds) / (Date.now() - from)).toFixed(2)} %`
    say(`page ${open ? 'open' : 'closed'}: host and browser, of a core`, `${share(processorSeconds(app.pid) - host)}, ${share(browserSeconds(app) - browser)}`) // prettier-ignore
    const heap = await page?.evaluate(
      () => (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize
    )
    if (heap !== undefined) say('  heap of the page, resident memory of the host', `${(heap / 2 ** 20).toFixed(0)} MiB, ${residentMib(app.pid).toFixed(0)} MiB`) // prettier-ignore
    windows.push({ open, from, until: Date.now() })
    await page?.close()
  }
  return windows
}

/** What an open page does to steps that are all the same work: each open window beside the closed one after it. */
function pace(all: readonly Step[], windows: readonly Window[]): void {
  const mean = ({ from, until }: Window): number => {
    const inside = all.filter(({ time, seconds }) => time - seconds * 1000 >= from && time <= until)
    return inside.reduce((sum, { seconds }) => sum + seconds, 0) / inside.length
  }
  const slower = windows
    .filter(({ open }) => open)
    .map((open) => 100 * (mean(open) / mean(windows[windows.indexOf(open) + 1]!) - 1))
  const average = slower.reduce((sum, it) => sum + it, 0) / slower.length
  const deviation = Math.sqrt(slower.reduce((sum, it) => sum + (it - average) ** 2, 0) / (slower.length - 1))
  say('steps measured, mean of a step with the page closed', `${all.length}, ${mean(windows[1]!).toFixed(3)} s`)
  say('steps longer with the page open, mean and standard error', `${average.toFixed(2)} %, ${(deviation / Math.sqrt(slower.length)).toFixed(2)} points`) // prettier-ignore
}

/** Traces of one length, so that every step is the same work. */
const traces = (): string =>
  Array.from({ length: 64 }, (_, i) => {
    const number = 10 + (i % 80)
    const assistant = `<think>\n${'so it goes on. '.repeat(3)}\n</think>\n\\boxed{${number}}`
    return JSON.stringify({
      messages: [
        { role: 'user', content: `Compute ${number}.` },
        { role: 'assistant', content: assistant }
      ]
    })
  }).join('\n')

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
  while (steps(workspace, '3-grpo').length < 2) await pause(1000)
  const demo = page.url()
  await page.goto('about:blank')
  console.log('The demo, GRPO')
  await byTurns(context, demo, app, DEMO_TURNS)

  await page.goto(demo)
  await page.getByRole('button', { name: 'Stop now' }).click()
  await page.getByRole('button', { name: 'Resume' }).first().waitFor()
  const file = join(workspace, 'same-length.jsonl')
  writeFileSync(file, traces())
  await visit(page, app.origin, `train?kind=sft&train=${encodeURIComponent(file)}`)
  await page.getByText('valid', { exact: true }).waitFor()
  await page.locator('[data-setting="max_steps"]').getByRole('textbox').fill('100000')
  // one thread, so that a core is left for the browser as on any machine with more than two
  await page.locator('.cm-content').click()
  await page.keyboard.press('Control+End')
  await page.keyboard.type('threads: 1\n')
  await page.getByText('valid', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'Start', exact: true }).click()
  await page.waitForURL(/#\/runs\/\w+/)
  const sft = page.url()
  await page.goto('about:blank')
  while (steps(workspace, '-run/').length < 5) await pause(1000)
  console.log('SFT')
  const windows = await byTurns(context, sft, app, SFT_TURNS)
  pace(steps(workspace, '-run/'), windows)
} finally {
  await browser.close()
  await app.stop()
  rmSync(workspace, { recursive: true, force: true })
}
