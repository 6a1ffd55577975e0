/** The formats a file can be read as, in words, and which column plays which role in each. */
import type { DATA_FORMATS } from '../../../shared/contract/datasets.ts'

export type DataFormat = (typeof DATA_FORMATS)[number]

export type Role = { readonly name: string; readonly required: boolean; readonly says: string }

type FormatFacts = {
  readonly title: string
  readonly use: 'traces' | 'tasks'
  readonly says: string
  readonly roles: readonly Role[]
}

const needed = (name: string, says: string): Role => ({ name, required: true, says })
const optional = (name: string, says: string): Role => ({ name, required: false, says })
const thinking = optional('thinking', 'the thought, where it has a column of its own')
const system = optional('system', 'a system message')

export const FORMATS: Readonly<Record<DataFormat, FormatFacts>> = {
  messages: {
    title: 'Messages',
    use: 'traces',
    says: 'OpenAI chat: a list of role and content; the thought in <think> tags or in reasoning_content',
    roles: [needed('messages', 'the list of messages')]
  },
  sharegpt: {
    title: 'ShareGPT',
    use: 'traces',
    says: 'a list of from and value',
    roles: [needed('conversations', 'the list of turns'), system]
  },
  alpaca: {
    title: 'Alpaca',
    use: 'traces',
    says: 'instruction, input, output',
    roles: [
      needed('instruction', 'what is asked'),
      optional('input', 'what it is asked about'),
      needed('output', 'the answer, with its thought in <think> tags where that has no column'),
      thinking,
      system
    ]
  },
  prompt_completion: {
    title: 'Prompt and completion',
    use: 'traces',
    says: 'one column asks, one answers with its thought',
    roles: [
      needed('prompt', 'what is asked'),
      needed('completion', 'the answer, with its thought in <think> tags where that has no column'),
      thinking,
      system
    ]
  },
  prompt_solution: {
    title: 'Prompt and solution',
    use: 'tasks',
    says: 'one column asks, one holds the right answer',
    roles: [needed('prompt', 'what is asked'), needed('solution', 'the right answer')]
  },
  gsm8k: {
    title: 'GSM8K',
    use: 'tasks',
    says: 'question and a worked answer that ends in #### and the number',
    roles: [needed('question', 'what is asked'), needed('answer', 'the worked answer')]
  }
}

/** What stops a mapping from being used, as one sentence; null when nothing does. */
export function mappingProblem(
  format: DataFormat,
  mapping: Readonly<Record<string, string>>,
  columns: readonly string[]
): string | null {
  for (const role of FORMATS[format].roles) {
    const column = mapping[role.name]
    if (column === undefined || column === '') {
      if (role.required) return `Choose the column that holds ${role.says} (${role.name}).`
      continue
    }
    if (columns.length > 0 && !columns.includes(column)) return `The file has no column “${column}” for ${role.name}.`
  }
  return null
}
