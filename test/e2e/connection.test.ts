/** A connection that goes and comes back, and a run of 200,000 events. */
import type { Browser } from 'playwright-core'
import { expect, test } from 'vitest'
import { openStore } from '../../src/main/data/store/index.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { describeApp, served, openTab, startApp, visit } from './rig.ts'
import type { App } from './rig.ts'

const EVENTS = 200_000
const ID = 'longrun1'

/** A finished run with many steps and log lines, written the way the host writes them. */
function writeLongRun(workspace: string): void {
  const store = openStore(workspace)
  const now = Date.now()
  const run = store.runs.add({ id: ID, kind: 'grpo', name: 'Long run', input: '{"input":{}}', recipe: 'kind: grpo\n', folder: `${workspace}/runs/long`, base: null, parent: null, created_at: now }) // prettier-ignore
  for (let from = 0; from < EVENTS; from += 5000) {
    const events = Array.from({ length: 5000 }, (_, i): { at: number; event: RunEvent } => {
      const step = (from + i) / 2 + 1
      const event: RunEvent = Number.isInteger(step)
        ? {
            kind: 'step',
            step,
            of: EVENTS / 2,
            metrics: { reward: Math.sin(step / 9000), loss: 1 / (1 + step / 500), entropy: 0.4, kl: 0.1 }
          }
        : { kind: 'log', level: 'info', text: `line ${from + i}` }
      return { at: now + from + i, event }
    })
    store.events.append(run.number, { events, lines: events.map((_, i) => `\u001b[36mstep\u001b[0m line ${from + i}`) })
  }
  store.runs.change(ID, {
    state: 'ended',
    how: 'done',
    reason: 'trained 100000 steps',
    started_at: now,
    ended_at: now + EVENTS
  })
  store.opened.close()
}

describeApp('a long run and a bad connection', () => {
  let app: App
  let browser: Browser

  const folder = served({ before: writeLongRun, ready: (it) => void ({ app, browser } = it), patience: 300_000 })

  test('200,000 events: all curves from first to last step, in bounded memory, and the page still answers', async () => {
    const { page, errors, context } = await openTab(browser, app)
    const started = Date.now()
    await visit(page, app.origin, `runs/${ID}`)
    await page.getByRole('figure', { name: /^Reward\. mean: \d/ }).waitFor()
    console.log(`run page of ${EVENTS} events: ${Date.now() - started} ms to its curves`)
    const label = await page.getByRole('figure', { name: /^Loss\./ }).getAttribute('aria-label')
    const drawn = Number(/([\d,]+) points/.exec(label!)![1]!.replaceAll(',', ''))
    expect(drawn).toBeGreaterThan(1000)
    expect(drawn).toBeLessThanOrEqual(8200)
    expect(await page.getByText('step 100,000').first().isVisible()).toBe(true)
    await page.getByRole('tab', { name: 'Terminal' }).click()
    await page.getByText('This is all the run printed.').waitFor({ timeout: 120_000 })
    const asked = Date.now()
    await page.getByRole('tab', { name: 'Settings' }).click()
    await page.getByRole('heading', { name: 'Recipe' }).waitFor()
    const heap = await page.evaluate(
      () => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize
    )
    console.log(
      `after 200,000 terminal lines: a tab opens in ${Date.now() - asked} ms, heap ${(heap / 2 ** 20).toFixed(0)} MiB`
    )
    expect(heap).toBeLessThan(400 * 2 ** 20)
    expect(errors).toEqual([])
    await context.close()
  }, 300_000)

  test('a lost connection is said once, and the page catches up when it is back', async () => {
    const { page, context, errors } = await openTab(browser, app)
    let down = false
    let cut: () => void = () => undefined
    await page.routeWebSocket(/\/rpc$/, (socket) => {
      if (down) return void socket.close()
      const host = socket.connectToServer()
      cut = () => {
        void host.close()
        void socket.close()
      }
    })
    await page.reload()
    await visit(page, app.origin, 'runs')
    await page.getByRole('link', { name: 'Long run' }).waitFor()
    down = true
    cut()
    await page.getByText('Connection lost, trying again.').waitFor()
    // What is asked meanwhile waits instead of failing.
    await page.getByRole('link', { name: 'Home' }).click()
    await page.waitForTimeout(1500)
    expect(await page.getByRole('alert').count()).toBe(0)
    down = false
    await page.getByText('Connection lost, trying again.').waitFor({ state: 'hidden' })
    await page.getByRole('link', { name: 'Long run' }).first().waitFor()
    expect(errors).toEqual([])
    await context.close()
  }, 120_000)

  test('a host that was started anew: the tab says that it needs the new address', async () => {
    const { page, context } = await openTab(browser, app)
    const port = Number(new URL(app.address).port)
    await app.stop()
    await page.getByText('Connection lost, trying again.').waitFor()
    app = await startApp(folder, port)
    await page.getByText('This tab is no longer known to the host.').waitFor()
    await page.goto(app.address)
    await page.getByRole('link', { name: 'Long run' }).first().waitFor()
    await context.close()
  }, 120_000)
})
