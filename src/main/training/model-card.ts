/** The README.md of an export: what it is, what it was trained on, how it scores, how to load it. No path of this machine is in it. */
import { basename } from 'node:path'
import { stringify } from 'yaml'
import type { Metrics } from '../../shared/event.ts'
import type { GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import type { Adapter } from '../engine/adapter.ts'
import { number } from '../evaluation/report/format.ts'
import { inline, table } from '../evaluation/report/markdown.ts'
import { headlineColumns } from '../evaluation/report/tables.ts'
import type { DataFacts, FileFacts, ScoreFacts } from './export-facts.ts'
import type { MergedFile } from './export-merged.ts'

export type CardFacts = {
  readonly recipe: SftRecipe | GrpoRecipe
  readonly adapter: Adapter
  /** Which adapter of the run it is, in words. */
  readonly source: string
  /** What the checks with llama.cpp found, one line a file. */
  readonly checks: readonly string[]
  readonly base: FileFacts
  readonly merged: readonly MergedFile[]
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
  const { recipe, adapter, source, checks, base, merged, data, versions } = facts
  const { info } = adapter.model
  const name = info.text('general.name')
  const modules = [...new Set(adapter.pairs.map(({ target }) => target.split('.')[2]))].join(', ')
  const how =
    recipe.kind === 'sft'
      ? 'supervised fine-tuning on think-tagged traces'
      : 'GRPO under a length-aware rule-based reward'
  const sections = [
    frontMatter(adapter),
    `# LoRA adapter${merged.length > 0 ? ' and merged models' : ''} for ${inline(name ?? base.name)}`,
    list([
      `Base: \`${base.name}\`${name === undefined ? '' : ` (${inline(name)})`}, ${typeNames(adapter)}, ${number(base.bytes)} bytes, SHA-256 \`${base.sha256}\`; the adapter fits no other base`,
      `Trained by: ${how}; this is ${inline(source)}`,
      `LoRA: rank ${adapter.r}, scale ${Number(adapter.scale.toPrecision(6))}, on ${modules}`,
      licence(adapter),
      ...rowsLine(recipe, base.name)
    ]),
    '## Files',
    list([
      '`adapter.gguf`: the adapter, for llama.cpp and what is built on it',
      '`peft/`: the adapter for PEFT and Transformers',
      ...merged.map(
        (it) =>
          `\`${it.file}\`: base and adapter in one, ${number(it.bytes)} bytes; weights are ${it.weightError.toExponential(1)} of their size (rms) from base plus adapter`
      ),
      '`Modelfile`: for Ollama'
    ]),
    'Each file was loaded again with node-llama-cpp and compared with the policy that was trained, along its greedy answers:',
    list(checks.map(inline)),
    '## Loading it',
    loading(facts),
    '## Data',
    data.length === 0 ? 'None.' : list(data.map(dataLine)),
    '## Scores',
    ...scoreSections(facts),
    '## Recipe',
    `\`\`\`yaml\n${stringify(withoutFolders(recipe)).trim()}\n\`\`\``,
    '## Versions',
    list(VERSIONS.flatMap((label) => (versions[label] === undefined ? [] : [`${label} ${versions[label]}`])))
  ]
  return sections.join('\n\n') + '\n'
}

const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n')

/** What model hubs read. A licence only where the base names one. */
function frontMatter({ model: { info } }: Adapter): string {
  const license = info.text('general.license')
  const fields = {
    library_name: 'peft',
    pipeline_tag: 'text-generation',
    tags: ['lora', 'gguf', 'reasoning'],
    ...(license !== undefined && { license })
  }
  return `---\n${stringify(fields).trim()}\n---`
}

function licence({ model: { info } }: Adapter): string {
  const [license, link] = [info.text('general.license'), info.text('general.license.link')]
  if (license === undefined)
    return 'Licence: the base names none in its metadata; look where it came from. What holds for the base holds for this too'
  return `Licence: the base's is ${inline(license)}${link === undefined ? '' : ` (${link})`} by its metadata; what it asks holds for this too`
}

function loading({ adapter, base, merged }: CardFacts): string {
  const model = merged.at(-1)?.file
  const alone = (text: string): string => (model === undefined ? '' : text)
  return `llama.cpp:

\`\`\`sh
llama-cli -m ${base.name} --lora adapter.gguf
${alone(`llama-cli -m ${model}\n`)}\`\`\`

node-llama-cpp:

\`\`\`js
const llama = await getLlama()
const model = await llama.loadModel({ modelPath: '${base.name}' })
const context = await model.createContext({ lora: 'adapter.gguf' })
${alone(`// or, without an adapter: llama.loadModel({ modelPath: '${model}' })\n`)}\`\`\`

Ollama (read the comments in \`Modelfile\` first):

\`\`\`sh
ollama create my-model -f Modelfile
\`\`\`

PEFT, on the base's Transformers weights (or the GGUF itself, which Transformers dequantises):

\`\`\`python
base = AutoModelForCausalLM.from_pretrained(".", gguf_file="${base.name}")
model = PeftModel.from_pretrained(base, "peft")
\`\`\`

The base was ${typeNames(adapter)} while the adapter was trained; on weights of another precision its answers differ slightly.`
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

function scoreSections({ evaluation, scores }: CardFacts): string[] {
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
          `Measured in \`${scores.from}\`${scores.own === undefined ? '; which stage is this adapter, the evaluation does not say by its path' : `; this adapter is the stage ${inline(scores.own)}`}:`,
          table(headlineColumns(scores.rows), scores.rows)
        ]
  return own.length + measured.length === 0 ? ['None were measured.'] : [...own, ...measured]
}

/** Adapter files cannot carry rows of the vocabulary's tables, so a base of its own does. */
function rowsLine({ lora }: SftRecipe | GrpoRecipe, base: string): string[] {
  const tokens = lora.trainable_token_indices
  if (tokens.length === 0) return []
  return [
    `Trained with it: the embedding and head rows of ${tokens.map((token) => `\`${token}\``).join(', ')}. No adapter file can carry them: they are in \`${base}\`, which differs from the original base in these rows alone. On the original base the adapter answers differently, and so does the PEFT folder.`
  ]
}

function typeNames({ model, pairs }: Adapter): string {
  const { ggml } = model.backend.native
  const types = pairs.map(({ target }) => ggml.type_name(model.weight(target).type).toUpperCase())
  return [...new Set(types)].join(' and ')
}

/** The recipe with files by their names alone. */
function withoutFolders(value: unknown, key = ''): unknown {
  if (typeof value === 'string') return PATH_KEYS.has(key) ? basename(value) : value
  if (Array.isArray(value)) return value.map((item) => withoutFolders(item, key))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutFolders(item, name)]))
}
