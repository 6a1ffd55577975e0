/**
 * An answer as HTML: Markdown, mathematics by KaTeX, then everything dangerous taken out. Answers come from a model, so
 * nothing in them may run, load or lead away.
 */
import DOMPurify from 'dompurify'
import katex from 'katex'
import { Marked } from 'marked'
import type { Tokens } from 'marked'

type Math = Tokens.Generic & { tex: string; display: boolean }

const render = (tex: string, display: boolean): string =>
  katex.renderToString(tex, { displayMode: display, throwOnError: false, trust: false, strict: false, maxExpand: 500 })

/** `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, and a bare `\boxed{…}`, the form answers are taught in. */
const INLINE: readonly { readonly from: RegExp; readonly display: boolean; readonly tex: (match: RegExpExecArray) => string }[] = [
  { from: /^\$\$([\s\S]+?)\$\$/, display: true, tex: (match) => match[1]! },
  { from: /^\\\[([\s\S]+?)\\\]/, display: true, tex: (match) => match[1]! },
  { from: /^\\\(([\s\S]+?)\\\)/, display: false, tex: (match) => match[1]! },
  // A price is no formula: no space inside the signs, no digit after the second.
  { from: /^\$(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$(?!\d)/, display: false, tex: (match) => match[1]! },
  { from: /^\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}/, display: false, tex: (match) => match[0] }
]

const marked = new Marked({ gfm: true, breaks: true }).use({
  extensions: [
    {
      name: 'math',
      level: 'inline',
      start: (source) => source.search(/\$|\\\(|\\\[|\\boxed/),
      tokenizer(source): Math | undefined {
        for (const { from, display, tex } of INLINE) {
          const match = from.exec(source)
          if (match !== null) return { type: 'math', raw: match[0], tex: tex(match), display }
        }
        return undefined
      },
      renderer: (token) => render((token as Math).tex, (token as Math).display)
    }
  ]
})

/** No pictures, forms, frames: an answer is text. Links open nowhere by themselves in the app, so they are text too. */
const FORBIDDEN = ['img', 'video', 'audio', 'iframe', 'form', 'input', 'button', 'style', 'a', 'link', 'object', 'embed']

export function answerHtml(markdown: string): string {
  return DOMPurify.sanitize(marked.parse(markdown, { async: false }), {
    USE_PROFILES: { html: true, mathMl: true, svg: false },
    FORBID_TAGS: FORBIDDEN,
    FORBID_ATTR: ['src', 'href', 'srcset', 'target'],
    KEEP_CONTENT: true
  })
}
