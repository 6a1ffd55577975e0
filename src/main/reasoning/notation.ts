/** One spelling for what people and models write in many: Unicode, LaTeX wrappers, markdown. Pure text to text. */

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'
const VULGAR: ReadonlyMap<string, string> = new Map([
  ['½', '1/2'],
  ['⅓', '1/3'],
  ['⅔', '2/3'],
  ['¼', '1/4'],
  ['¾', '3/4'],
  ['⅕', '1/5'],
  ['⅖', '2/5'],
  ['⅗', '3/5'],
  ['⅘', '4/5'],
  ['⅙', '1/6'],
  ['⅚', '5/6'],
  ['⅛', '1/8'],
  ['⅜', '3/8'],
  ['⅝', '5/8'],
  ['⅞', '7/8']
])

type Rewrite = readonly [RegExp, string | ((...groups: string[]) => string)]

/** Characters: invisible ones out, look-alikes to ASCII. */
const UNICODE: readonly Rewrite[] = [
  [/[\u200b-\u200f\u2060\ufeff\u00ad]/g, ''],
  [/[\u00a0\u2000-\u200a\u202f\u205f\u3000]/g, ' '],
  [/[\uff01-\uff5e]/g, (char) => String.fromCharCode(char!.charCodeAt(0) - 0xfee0)],
  [/[−–—‒―﹣⁻]/g, '-'],
  [/[⁰¹²³⁴-⁹]+/g, (run) => `^{${[...run!].map((char) => SUPERSCRIPTS.indexOf(char)).join('')}}`],
  [/[½⅓⅔¼¾⅕-⅚⅛-⅞]/g, (char) => ` ${VULGAR.get(char!) ?? char}`],
  [/[×⋅·∙]/g, '*'],
  [/÷/g, '/'],
  [/⁄/g, '/'],
  [/√/g, '\\sqrt '],
  [/π/g, '\\pi '],
  [/∞/g, '\\infty '],
  [/≈/g, '\\approx '],
  [/[’‘]/g, "'"]
]

/** LaTeX: wrappers, spacing and synonyms of one thing. */
const LATEX: readonly Rewrite[] = [
  [/\\[([]|\\[)\]]/g, ' '],
  [/\\\$|\$/g, ''],
  [/[€£¥]/g, ''],
  [/\\(?:left|right|displaystyle|textstyle|limits|bigl?|bigr?|Bigl?|Bigr?)(?![a-zA-Z])\.?/g, ''],
  [/\{,\}/g, ','],
  [/(\d)\\[,;:!](?=\d{3}(?!\d))/g, (_all, digit) => `${digit},`],
  [/\\[,;:! ]|\\quad(?![a-zA-Z])|\\qquad(?![a-zA-Z])|~/g, ' '],
  [/\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathit|mathsf|mbox|operatorname|emph)\s*\{([^{}]*)\}/g, ' $1 '],
  [/\\(?:dfrac|tfrac|cfrac)(?![a-zA-Z])/g, '\\frac'],
  [/\\frac\s*(\d)\s*(\d)/g, '\\frac{$1}{$2}'],
  [/\\frac\s*(\d)\s*\{/g, '\\frac{$1}{'],
  [/(\\frac\s*\{[^{}]*\})\s*(\d)/g, '$1{$2}'],
  [/\\sqrt\s*(\d|[a-zA-Z])(?![a-zA-Z])/g, '\\sqrt{$1}'],
  [/\\(?:cdot|times)(?![a-zA-Z])/g, '*'],
  [/\\div(?![a-zA-Z])/g, '/'],
  [/\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])|°/g, ' '],
  [/\\%/g, '%'],
  [/\\(?:leq|le)(?![a-zA-Z])/g, '\\le '],
  [/\\(?:geq|ge)(?![a-zA-Z])/g, '\\ge ']
]

/** Markdown and the edges of a sentence. */
const EDGES: readonly Rewrite[] = [
  [/\*\*([^*\n]+)\*\*/g, '$1'],
  [/__([^_\n]+)__/g, '$1'],
  [/`([^`\n]+)`/g, '$1'],
  [/\s+/g, ' '],
  [/^[\s:=*]+/, ''],
  [/[\s.,;:!?*]+$/, '']
]

const rewrite = (text: string, rules: readonly Rewrite[]): string =>
  rules.reduce((result, [pattern, by]) => result.replace(pattern, by as string), text)

/** The text in its one spelling. Linear in its length; callers bound that. */
export function plainNotation(raw: string): string {
  let text = rewrite(raw, UNICODE)
  for (let round = 0; round < 3; round++) text = rewrite(text, LATEX) // nested \text{\textbf{…}}
  return rewrite(text, EDGES)
}

const FUNCTIONS = new Set(
  'sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt frac pi infty le ge pm mp cup cap in binom max min gcd lcm mod'.split(
    ' '
  )
)

/** Two numerals side by side, a time, a version: some reader would glue them together. */
const NO_EXPRESSION = /\d\s+[\d.]|\d[:_]\d|\.\d+\.\d/

/** Whether a plain text could be mathematics: no word of two or more letters but known functions and LaTeX commands. */
export function looksMathematical(plain: string): boolean {
  if (!/[\w\\]/.test(plain) || NO_EXPRESSION.test(plain)) return false
  for (const [word] of plain.matchAll(/\\?[a-zA-Z]{2,}/g)) {
    if (!word.startsWith('\\') && !FUNCTIONS.has(word)) return false
  }
  return true
}
