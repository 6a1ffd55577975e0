/** What a model wrote is shown, never obeyed: hostile answers in a real browser, and the page's own policy behind it. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { build } from 'vite'
import { expect, test } from 'vitest'
import { describeApp, served, openTab } from './rig.ts'
import type { App } from './rig.ts'

const ENTRY = fileURLToPath(new URL('../../src/renderer/lib/markdown.ts', import.meta.url))
const AWAY = 'http://elsewhere.test'

/** `markdownHtml` as one script, without the page around it. */
async function script(): Promise<string> {
  const made = await build({
    configFile: false,
    logLevel: 'silent',
    build: { write: false, minify: false, lib: { entry: ENTRY, formats: ['iife'], name: 'markdown' } }
  })
  const [{ output }] = made as unknown as [{ output: { type: string; code?: string }[] }]
  return output.find(({ type }) => type === 'chunk')!.code!
}

/** Each must leave the words, and nothing that acts. */
const HOSTILE: readonly (readonly [name: string, text: string])[] = [
  ['a style', '<b style="position:fixed;inset:0;background:url(' + AWAY + '/a.png)">words</b>'],
  ['a style block', `<style>body{background:url(${AWAY}/b.png)}</style>words`],
  ['the page’s own classes', '<span class="fixed inset-0 z-50 bg-surface">words</span>'],
  ['an id', '<span id="app" name="app">words</span>'],
  ['a handler', '<b onclick="document.title=1" onmouseover="document.title=1">words</b>'],
  ['a picture', `words ![x](${AWAY}/c.png) <img src="${AWAY}/d.png" onerror="document.title='owned'">`],
  ['a set of pictures', `words <picture><source srcset="${AWAY}/e.png"><img srcset="${AWAY}/f.png 2x"></picture>`],
  ['an svg', `words <svg onload="document.title='owned'"><image href="${AWAY}/g.png"/></svg>`],
  ['a script link', '[words](javascript:document.title=1) <a href="javascript:document.title=1">words</a>'],
  ['a link away', `[words](${AWAY}/h) <a href="${AWAY}/i" ping="${AWAY}/j">words</a> <${AWAY}/k>`],
  ['a frame', `words <iframe src="${AWAY}/l"></iframe><object data="${AWAY}/m"></object><embed src="${AWAY}/n">`],
  ['a form', `words <form action="${AWAY}/o"><input type="image" src="${AWAY}/p"><button>go</button></form>`],
  ['media', `words <video src="${AWAY}/q" poster="${AWAY}/r"></video><audio src="${AWAY}/s" autoplay></audio>`],
  ['head matter', `words <link rel="stylesheet" href="${AWAY}/t.css"><meta http-equiv="refresh" content="0;url=${AWAY}/u"><base href="${AWAY}/">`],
  ['a script', `words <script src="${AWAY}/v.js"></script><script>document.title='owned'</script>`],
  ['a formula that links', `words $\\href{${AWAY}/w}{x}$ $\\includegraphics{${AWAY}/x.png}$ $\\htmlStyle{position:fixed}{x}$`],
  ['a formula that covers the page', 'words $\\rule{9999em}{9999em}$'],
  ['a formula’s place', 'words <span data-formula="0" style="color:red"></span> <span data-formula="7"></span>'],
  ['markup in a formula', `words $<img src=${AWAY}/y.png onerror=document.title='owned'>$`],
  ['confused markup', `words <math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=${AWAY}/z.png&gt;">`]
] // prettier-ignore

describeApp('what a model wrote', () => {
  let browser: Browser
  let page: Page
  let app: App
  const asked: string[] = []

  served({
    ready: async (it) => {
      app = it.app
      browser = it.browser
      page = await (await browser.newContext()).newPage()
      await page.route('**/*', (route) => {
        asked.push(route.request().url())
        return route.abort()
      })
      await page.setContent('<title>ours</title><main></main>')
      await page.addScriptTag({ content: await script() })
    }
  })

  /** Puts it into a page without any policy and says what could act in it. */
  const shown = (text: string) =>
    page.evaluate((text) => {
      const main = document.querySelector('main')!
      const { markdown } = globalThis as unknown as { markdown: { markdownHtml: (text: string) => string } }
      main.innerHTML = markdown.markdownHtml(text)
      const bad: string[] = []
      for (const element of main.querySelectorAll('*')) {
        const ours = element.closest('.katex, .katex-error') !== null
        for (const { name, value } of element.attributes)
          if (
            /^(on|href|src|action|ping|poster|data$|id$|name$|xlink)/.test(name) ||
            (!ours && /^(style|class)$/.test(name))
          )
            bad.push(`${element.tagName} ${name}=${value}`)
        if (
          /^(IMG|SCRIPT|STYLE|IFRAME|OBJECT|EMBED|FORM|INPUT|BUTTON|LINK|META|BASE|VIDEO|AUDIO)$/.test(element.tagName)
        )
          bad.push(element.tagName)
        if (getComputedStyle(element).position === 'fixed') bad.push(`${element.tagName} is fixed`)
      }
      const widest = Math.max(...[...main.querySelectorAll('*')].map((one) => one.getBoundingClientRect().width), 0)
      return { bad, text: main.innerText, widest, title: document.title }
    }, text)

  test.for(HOSTILE)('%s', async ([, text]) => {
    asked.length = 0
    const { bad, text: words, widest, title } = await shown(text)
    expect(bad).toEqual([])
    expect(words).toContain('words')
    expect(widest).toBeLessThan(2000)
    expect(title).toBe('ours')
    await page.waitForTimeout(50)
    expect(asked).toEqual([])
  })

  test('what answers do use is still there: emphasis, lists, tables, code, formulas with their layout', async () => {
    await shown(
      '**so** the sum is $\\frac{1}{2}$\n\n1. a\n2. b\n\n| x | y |\n|--:|---|\n| 1 | `2` |\n\nx<sub>1</sub> \\boxed{3}'
    )
    const main = page.locator('main')
    for (const [selector, count] of [
      ['strong', 1],
      ['ol li', 2],
      ['td[align=right]', 1],
      ['code', 1],
      ['sub', 1],
      ['.katex', 2]
    ] as const)
      // prettier-ignore
      expect([selector, await main.locator(selector).count()]).toEqual([selector, count])
    expect(await main.locator('.katex [style]').count()).toBeGreaterThan(0)
  })

  test('behind it the page’s policy: nothing is fetched from elsewhere, whatever got into it', async () => {
    const { page, context } = await openTab(browser, app)
    // A request that a policy refuses is announced all the same, so a server counts those that come.
    const came: (string | undefined)[] = []
    const away = createServer((request, response) => {
      came.push(request.url)
      response.end()
    }).listen(0, '127.0.0.1')
    await once(away, 'listening')
    const refused = await page.evaluate(
      async (away) => {
        const directives: string[] = []
        document.addEventListener('securitypolicyviolation', (event) => directives.push(event.effectiveDirective))
        const add = (html: string): void => document.body.insertAdjacentHTML('beforeend', html)
        add(
          `<img src="${away}/a.png"><div style="background:url(${away}/b.png)">x</div><link rel="stylesheet" href="${away}/c.css">`
        )
        add(`<iframe src="${away}/d"></iframe><video src="${away}/e"></video><b onclick="1">x</b>`)
        await fetch(`${away}/f`).catch(() => undefined)
        await new Promise((resolve) => setTimeout(resolve, 500))
        return [...new Set(directives)].sort()
      },
      `http://127.0.0.1:${(away.address() as AddressInfo).port}`
    )
    expect(refused).toEqual(['connect-src', 'frame-src', 'img-src', 'media-src', 'script-src-attr', 'style-src-elem'])
    expect(came).toEqual([])
    away.close()
    await context.close()
  })
})
