/** A saved trace as one HTML file that needs nothing else: to be sent, opened and read anywhere. */
import type { SavedTrace } from '../../shared/contract/play.ts'

const STYLE = `
:root { color-scheme: light dark; --line: #d4d4d8; --soft: #71717a; --pane: #f4f4f5 }
@media (prefers-color-scheme: dark) { :root { --line: #3f3f46; --soft: #a1a1aa; --pane: #18181b } }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem; line-height: 1.3 } h2 { font-size: 1.05rem; margin-top: 2rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0 }
.prompt, details { border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem; background: var(--pane) }
summary { cursor: pointer; color: var(--soft) } .answer { margin: 1rem 0 } .note { color: var(--soft); font-size: .85rem }
`

export function traceHtml({ title, prompt, answers, createdAt }: SavedTrace): string {
  const parts = answers.map(
    ({ policy, thinking, answer, tokens, stop }) => `<section>
<h2>${escape(policy)}</h2>
${thinking === '' ? '' : `<details><summary>Thought</summary><pre>${escape(thinking)}</pre></details>`}
<div class="answer"><pre>${escape(answer)}</pre></div>
<p class="note">${tokens} tokens${stop === null ? '' : `, ${escape(STOPS[stop] ?? stop)}`}</p>
</section>`
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escape(title)}</h1>
<div class="prompt"><pre>${escape(prompt)}</pre></div>
${parts.join('\n')}
<p class="note">Sampled with Reasonsmith, ${escape(new Date(createdAt).toISOString().slice(0, 10))}</p>
</body>
</html>
`
}

const STOPS: Readonly<Record<string, string>> = {
  eos: 'ended by itself',
  length: 'cut off at the limit',
  cancelled: 'stopped'
}

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** The title as the name of a file. */
export const traceFileName = ({ title }: SavedTrace): string =>
  `${
    title
      .replaceAll(/[^\p{L}\p{N}]+/gu, '-')
      .replaceAll(/^-|-$/g, '')
      .slice(0, 60) || 'trace'
  }.html`
