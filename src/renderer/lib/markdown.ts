/** Markdown with formulas as safe HTML. What a model wrote is never trusted. */
import DOMPurify from 'dompurify'
import katex from 'katex'
import { Marked } from 'marked'

/** `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and a bare `\boxed{…}`, as answers use them. */
const INLINE = /^(?:\$(?!\s)((?:\\.|[^$\n\\])+?)(?<!\s)\$(?!\d)|\\\(([\s\S]+?)\\\)|(\\boxed\{(?:[^{}]|\{[^{}]*\})*\}))/
const BLOCK = /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])/

/** No rule or kern of a formula is larger than this, in em: `\\rule{9999em}{9999em}` would cover the page. */
const LARGEST = 40

const formula = (text: string, displayMode: boolean): string =>
  katex.renderToString(text, { displayMode, throwOnError: false, output: 'html', trust: false, maxSize: LARGEST })

/** Formulas of the text that is being read. They come from KaTeX and keep its styles; their places hold a number until then. */
let formulas: string[] = []
const placed = (text: string, displayMode: boolean): string =>
  `<span data-formula="${formulas.push(formula(text, displayMode)) - 1}"></span>`
const PLACE = /<span data-formula="(\d+)"><\/span>/g

const marked = new Marked({ async: false, gfm: true, breaks: true }).use({
  extensions: [
    {
      name: 'formulaBlock',
      level: 'inline',
      start: (text) => text.search(/\$\$|\\\[/),
      tokenizer(text) {
        const found = BLOCK.exec(text)
        return found === null ? undefined : { type: 'formulaBlock', raw: found[0], text: found[1] ?? found[2] ?? '' }
      },
      renderer: (token) => placed(token['text'] as string, true)
    },
    {
      name: 'formula',
      level: 'inline',
      start: (text) => text.search(/\$|\\\(|\\boxed\{/),
      tokenizer(text) {
        const found = INLINE.exec(text)
        return found === null
          ? undefined
          : { type: 'formula', raw: found[0], text: found[1] ?? found[2] ?? found[3] ?? '' }
      },
      renderer: (token) => placed(token['text'] as string, false)
    }
  ]
})

/** What markdown makes, and the few of HTML that answers use. Everything else is taken out, its text stays. */
const TAGS =
  'p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code strong em b i u s del sub sup kbd table thead tbody tr th td a span'
const ATTRIBUTES = ['align', 'start', 'data-formula']

/**
 * Links open nothing (the app is offline), pictures are not fetched, scripts and forms are gone. No `style`, `class` or `id`
 * of the text survives: with the page's own classes an answer could lay itself over the page.
 */
export function markdownHtml(text: string): string {
  formulas = []
  const html = DOMPurify.sanitize(marked.parse(text) as string, {
    ALLOWED_TAGS: TAGS.split(' '),
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false
  })
  // A place the text itself wrote gets a formula of the same text, or nothing.
  return html.replace(PLACE, (_, place: string) => formulas[Number(place)] ?? '')
}
