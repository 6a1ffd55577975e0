/** Markdown with formulas as safe HTML. What a model wrote is never trusted. */
import DOMPurify from 'dompurify'
import katex from 'katex'
import { Marked } from 'marked'

/** `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and a bare `\boxed{…}`, as answers use them. */
const INLINE = /^(?:\$(?!\s)((?:\\.|[^$\n\\])+?)(?<!\s)\$(?!\d)|\\\(([\s\S]+?)\\\)|(\\boxed\{(?:[^{}]|\{[^{}]*\})*\}))/
const BLOCK = /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])/

const formula = (text: string, displayMode: boolean): string =>
  katex.renderToString(text, { displayMode, throwOnError: false, output: 'html', trust: false })

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
      renderer: (token) => formula(token['text'] as string, true)
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
      renderer: (token) => formula(token['text'] as string, false)
    }
  ]
})

/** Links open nothing (the app is offline), pictures are not fetched, scripts and forms are gone. */
export function markdownHtml(text: string): string {
  return DOMPurify.sanitize(marked.parse(text) as string, {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ['img', 'form', 'input', 'style', 'iframe', 'video', 'audio', 'picture', 'source'],
    FORBID_ATTR: ['href', 'src', 'srcset', 'action']
  })
}
