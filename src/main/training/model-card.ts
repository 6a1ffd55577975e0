/** The README.md of an export: what it is, what it was trained on, how it scores, how to load it. No path of this machine is in it. */
import { basename } from 'node:path'
import { stringify } from 'yaml'
import type { Metrics } from '../../shared/event.ts'
import { effectiveSettings } from '../../shared/recipe.ts'
import type { GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import type { GgufInfo } from '../engine/gguf.ts'
import { number } from '../evaluation/report/format.ts'
import { inline, table } from '../evaluation/report/markdown.ts'
import { headlineColumns } from '../evaluation/report/tables.ts'
import type { DataFacts, ScoreFacts } from './export-facts.ts'

/** What is handed over, in a card's words: see model-card-subjects.ts. */
export type CardSubject = {
  readonly word: 'adapter' | 'model'
  /** What model hubs read, the licence aside. */
  readonly library: string
  readonly tags: readonly string[]
  readonly title: string
  /** What it is, one line each, the licence aside. */
  readonly facts: readonly string[]
  /** The files, one line each, the Modelfile aside. */
  readonly files: readonly string[]
  readonly loading: string
  /** The header that names the licence. */
  readonly info: GgufInfo
}

export type CardFacts = {
  readonly recipe: SftRecipe | GrpoRecipe
  readonly subject: CardSubject
  /** What the checks with llama.cpp found, one line a file. */
  readonly checks: readonly string[]
  readonly data: readonly DataFacts[]
  /** The run's own last evaluation. */
  readonly evaluation: { readonly step: number; readonly metrics: Metrics } | undefined
  readonly scores: ScoreFacts | undefined
  /** Label to value. */
  readonly versions: Readonly<Record<string, string>>
}

const PATH_KEYS: ReadonlySet<string> = new Set(['base', 'adapter', 'train', 'held_out', 'file', 'output_dir'])
/** Of the environment, what says nothing about the machine's owner. */
const VERSIONS = ['node', 'node-llama-cpp', 'llama.cpp', 'ggml']

export function modelCard(facts: CardFacts): string {
  const { recipe, subject, checks, data, versions } = facts
  const sections = [
    frontMatter(subject),
    `# ${subject.title}`,
    list([...subject.facts, licence(subject.info)]),
    '## Files',
    list([...subject.files, '`Modelfile`: for Ollama']),
    'Each file was loaded again with node-llama-cpp and compared with the policy that was trained, along its greedy answers:',
    list(checks.map(inline)),
    '## Loading it',
    subject.loading,
    '## Data',
    data.length === 0 ? 'None.' : list(data.map(dataLine)),
    '## Scores',
    ...scoreSections(facts),
    '## Recipe',
    `\`\`\`yaml\n${stringify(withoutFolders(effectiveSettings(recipe))).trim()}\n\`\`\``,
    '## Versions',
    list(VERSIONS.flatMap((label) => (versions[label] === undefined ? [] : [`${label} ${versions[label]}`])))
  ]
  return sections.join('\n\n') + '\n'
}

const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n')

/** What model hubs read. A licence only where the base names one. */
function frontMatter({ library, tags, info }: CardSubject): string {
  const license = info.text('general.license')
  const fields = {
    library_name: library,
    pipeline_tag: 'text-generation',
    tags,
    ...(license !== undefined && { license })
  }
  return `---\n${stringify(fields).trim()}\n---`
}

function licence(info: GgufInfo): string {
  const [license, link] = [info.text('general.license'), info.text('general.license.link')]
  if (license === undefined)
    return 'Licence: the base names none in its metadata; look where it came from. What holds for the base holds for this too'
  return `Licence: the base's is ${inline(license)}${link === undefined ? '' : ` (${link})`} by its metadata; what it asks holds for this too`
}

function dataLine(data: DataFacts): string {
  if ('family' in data) {
    const { family, difficulty, count, seed } = data.family
    return `${data.role}: generated, ${family}, difficulty ${[difficulty].flat().join(', ')}, ${count} tasks, seed ${seed}`
  }
  const { facts } = data
  const what =
    facts === null
      ? 'no longer where the recipe says when this was written'
      : `${number(facts.lines)} lines, ${number(facts.bytes)} bytes, SHA-256 \`${facts.sha256}\``
  return `${data.role}: \`${data.name}\`, ${what}`
}

function scoreSections({ subject, evaluation, scores }: CardFacts): string[] {
  const own =
    evaluation === undefined
      ? []
      : [
          `The run's own last evaluation, after step ${evaluation.step}, on what it held out:`,
          list(Object.entries(evaluation.metrics).map(([name, value]) => `${inline(name)}: ${number(value)}`))
        ]
  const measured =
    scores === undefined
      ? []
      : [
          `Measured in \`${scores.from}\`${scores.own === undefined ? `; which stage is this ${subject.word}, the evaluation does not say by its path` : `; this ${subject.word} is the stage ${inline(scores.own)}`}:`,
          table(headlineColumns(scores.rows), scores.rows)
        ]
  return own.length + measured.length === 0 ? ['None were measured.'] : [...own, ...measured]
}

/** The recipe with files by their names alone. */
function withoutFolders(value: unknown, key = ''): unknown {
  if (typeof value === 'string') return PATH_KEYS.has(key) ? basename(value) : value
  if (Array.isArray(value)) return value.map((item) => withoutFolders(item, key))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutFolders(item, name)]))
}
