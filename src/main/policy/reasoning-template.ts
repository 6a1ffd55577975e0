/**
 * The chat template of a base that shall think: its own, with a few lines before it that rewrite the messages and never the
 * text around them. Where a conversation brings no system message they put the fixed reasoning one first; where the
 * template knows nothing of thoughts they drop those of earlier turns, as the templates of reasoning families do. Then it
 * is checked on samples, since templates are known to empty, lose and double thoughts without a word.
 */
import type { ChatMessage, Render } from '../engine/chat-template.ts'
import { templateLiteral } from '../engine/chat-template.ts'
import type { ThinkTags } from '../reasoning/trace.ts'
import { traceText } from './dialogue.ts'

export type ReasoningStyle = {
  readonly tags: ThinkTags
  /** '' adds none. */
  readonly systemMessage: string
  /** The tags are ordinary text, set off by newlines. */
  readonly spelledOut: boolean
}

/**
 * How a system message reaches a template, by the literal of the fixed one or null for none: the first way that passes the
 * check is taken.
 */
const SYSTEM_LINES: Readonly<Record<'a system turn' | 'the first question', (message: string | null) => string>> = {
  'a system turn': (message) =>
    message === null
      ? ''
      : `{%- if not messages or messages[0]['role'] != 'system' -%}` +
        `{%- set messages = [{'role': 'system', 'content': ${message}}] + messages -%}{%- endif -%}`,
  // for families without a system role, which refuse or lose such a turn
  'the first question': (message) => {
    const asked = (system: string, at: number): string =>
      `{%- set messages = [{'role': 'user', 'content': ${system} + '\\n\\n' + messages[${at}]['content']}] + messages[${at + 1}:] -%}`
    const given = `{%- if messages | length > 1 and messages[0]['role'] == 'system' -%}${asked(`messages[0]['content']`, 1)}`
    const fixed = message === null ? '' : `{%- elif messages -%}${asked(message, 0)}`
    return `${given}${fixed}{%- endif -%}`
  }
}
export type SystemPlace = keyof typeof SYSTEM_LINES

/** Thoughts before the last question go; one that a client keeps apart from its answer is put where it belongs. */
function thoughtLines({ tags, spelledOut }: ReasoningStyle): string {
  const [open, close] = [templateLiteral(tags.open), templateLiteral(tags.close)]
  const gap = spelledOut ? `'\\n'` : `''`
  const content = (of: string): string => `{'role': 'assistant', 'content': ${of}}`
  const step = (of: string): string => `{%- set reasonsmith.kept = reasonsmith.kept + [${of}] -%}`
  return (
    `{%- set reasonsmith = namespace(asked=-1, kept=[]) -%}` +
    `{%- for message in messages -%}{%- if message['role'] == 'user' -%}` +
    `{%- set reasonsmith.asked = loop.index0 -%}{%- endif -%}{%- endfor -%}` +
    `{%- for message in messages -%}` +
    `{%- if message['role'] != 'assistant' or message['tool_calls'] or message['content'] is not string -%}` +
    step('message') +
    `{%- elif loop.index0 < reasonsmith.asked -%}` +
    step(content(`message['content'].split(${close})[-1].lstrip()`)) +
    `{%- elif message['reasoning_content'] and ${close} not in message['content'] -%}` +
    step(
      content(
        `${open} + ${gap} + message['reasoning_content'].strip() + ${gap} + ${close} + ${gap} + message['content'].lstrip()`
      )
    ) +
    `{%- else -%}${step('message')}{%- endif -%}` +
    `{%- endfor -%}{%- set messages = reasonsmith.kept -%}`
  )
}

/** Does the template already say what becomes of thoughts? */
export const knowsThoughts = (template: string, { close }: ThinkTags): boolean =>
  template.includes(close) || template.includes('reasoning_content')

export function patchTemplate(template: string, style: ReasoningStyle, place: SystemPlace): string {
  const system = SYSTEM_LINES[place](style.systemMessage === '' ? null : templateLiteral(style.systemMessage))
  const thoughts = knowsThoughts(template, style.tags) ? '' : thoughtLines(style)
  return system + thoughts + template
}

export type PatchedTemplate = {
  readonly source: string
  readonly place: SystemPlace
  /** What the samples show to be wrong; empty for a template that may be used. */
  readonly problems: readonly string[]
  readonly samples: number
}

/** The first way of patching that passes the check, or the first of all with its problems. */
export function reasoningTemplate(
  template: string,
  style: ReasoningStyle,
  compile: (source: string) => Render
): PatchedTemplate {
  const tried = (Object.keys(SYSTEM_LINES) as SystemPlace[]).map((place) => {
    const source = patchTemplate(template, style, place)
    const apart = template.includes('reasoning_content') || !knowsThoughts(template, style.tags)
    return { source, place, samples: SAMPLES.length, problems: templateProblems(compile(source), style, apart) }
  })
  return tried.find(({ problems }) => problems.length === 0) ?? tried[0]!
}

type Turn = { readonly question: string; readonly thinking: string; readonly answer: string }

/** Conversations whose last turn is the one that is taught. The contents are what templates have stumbled over. */
const SAMPLES: readonly (readonly Turn[])[] = [
  [{ question: 'What is 17 + 25?', thinking: '17 + 25 is 42.', answer: 'The sum is \\boxed{42}.' }],
  [
    {
      question: 'Zwei\n\nAbsätze?',
      thinking: 'One line.\n\nAnother, after a gap.\n- a list',
      answer: 'Ja.\n\nUnd noch eine.'
    }
  ],
  [{ question: 'Braces?', thinking: "It's {{ x }} and {% y %} and \\frac{1}{2}.", answer: '"{}" & <b>bold</b>' }],
  [
    { question: 'First of two?', thinking: 'An old thought.', answer: 'An early answer.' },
    { question: 'Second of two?', thinking: 'A new thought.', answer: 'A late answer.' }
  ],
  [
    { question: 'One?', thinking: 'Oldest thought.', answer: 'Answer one.' },
    { question: 'Two?', thinking: '', answer: 'Answer two, never thought about.' },
    { question: 'Three?', thinking: 'Thought three.', answer: 'Answer three.' }
  ]
]
const GIVEN_SYSTEM = 'A message of the conversation itself.'

/** Everything the samples show to be wrong, a sentence each. `apart`: also with the thought in a field of its own. */
export function templateProblems(render: Render, style: ReasoningStyle, apart: boolean): string[] {
  const forms = [false, ...(apart ? [true] : [])].flatMap((own) =>
    [false, true].map((given) => ({ apart: own, given }))
  )
  return [...new Set(SAMPLES.flatMap((turns) => forms.flatMap((form) => sampleProblems(render, style, turns, form))))]
}

type Form = {
  /** The last thought is a field of its own, not part of the content. */ readonly apart: boolean
  /** The conversation brings a system message. */ readonly given: boolean
}

function sampleProblems(
  render: Render,
  style: ReasoningStyle,
  turns: readonly Turn[],
  { apart, given }: Form
): string[] {
  const { tags, systemMessage, spelledOut } = style
  const written = ({ thinking, answer }: Turn): ChatMessage => ({
    role: 'assistant',
    content: thinking === '' ? answer : traceText(thinking, answer, spelledOut, tags)
  })
  const last = turns.at(-1)!
  const messages: ChatMessage[] = [
    ...(given ? [{ role: 'system', content: GIVEN_SYSTEM } as const] : []),
    ...turns.slice(0, -1).flatMap((turn) => [{ role: 'user', content: turn.question } as const, written(turn)]),
    { role: 'user', content: last.question }
  ]
  const response: ChatMessage = apart
    ? { role: 'assistant', content: last.answer, reasoning_content: last.thinking }
    : written(last)
  let texts: { bare: string; prompt: string; whole: string }
  try {
    texts = {
      bare: render(messages, { addGenerationPrompt: false }),
      prompt: render(messages, { addGenerationPrompt: true }),
      whole: render([...messages, response], { addGenerationPrompt: false })
    }
  } catch (error) {
    return [`the template refuses a conversation: ${(error as Error).message}`]
  }
  const { bare, prompt, whole } = texts
  const conversation = prompt.slice(Math.max(0, prompt.indexOf(turns[0]!.question)))
  const taught = whole.slice(prompt.length)
  const inside = between(taught, tags)
  const system = given ? GIVEN_SYSTEM : systemMessage
  const checks: readonly (readonly [wrong: boolean, why: string])[] = [
    [
      count(prompt, system) !== 1 && system !== '',
      `the system message stands in the prompt ${count(prompt, system)} times`
    ],
    [given && systemMessage !== '' && prompt.includes(systemMessage), 'the fixed message is added to a given one'],
    [
      prompt.slice(bare.length).includes(tags.open),
      `the template opens the thought itself, so ${tags.open} is doubled`
    ],
    [
      !prompt.startsWith(bare) || (whole.startsWith(prompt) && !taught.trimStart().startsWith(tags.open)),
      'add_generation_prompt does not lead to where the answer begins'
    ],
    [!whole.startsWith(prompt), 'what is taught does not begin with the prompt that is sampled from'],
    [count(taught, tags.open) !== 1, `an answer has ${count(taught, tags.open)} opening tags`],
    [count(taught, tags.close) !== 1, `an answer has ${count(taught, tags.close)} closing tags`],
    [inside !== last.thinking, inside === '' ? 'the thought is emptied' : 'the thought is lost or rewritten'],
    [!taught.includes(last.answer), 'the answer is lost or rewritten'],
    ...turns.slice(0, -1).flatMap(({ question, thinking, answer }): (readonly [boolean, string])[] => [
      [!conversation.includes(question) || !conversation.includes(answer), 'an earlier question or answer is lost'],
      [thinking !== '' && conversation.includes(thinking), 'the thought of an earlier turn is kept']
    ]),
    [count(conversation, tags.open) + count(conversation, tags.close) > 0, 'an earlier turn keeps a think tag']
  ]
  return checks.filter(([wrong]) => wrong).map(([, why]) => why)
}

const count = (text: string, part: string): number => (part === '' ? 0 : text.split(part).length - 1)

/** What stands between the tags, trimmed; null where they are not both there, in order. */
function between(text: string, { open, close }: ThinkTags): string | null {
  const [from, to] = [text.indexOf(open), text.indexOf(close)]
  return from < 0 || to < from ? null : text.slice(from + open.length, to).trim()
}
