/** The README.md of an exported adapter: what it is, how it was trained, how to load it. No path of this machine is in it. */
import { basename } from 'node:path'
import { stringify } from 'yaml'
import type { GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import type { Adapter } from '../engine/adapter.ts'

export type CardFacts = {
  readonly recipe: SftRecipe | GrpoRecipe
  readonly adapter: Adapter
  /** Which adapter of the run it is, in words. */
  readonly source: string
  /** What the check with llama.cpp found. */
  readonly check: string
}

const PATH_KEYS: ReadonlySet<string> = new Set(['base', 'adapter', 'train', 'held_out', 'file', 'output_dir'])

export function modelCard({ recipe, adapter, source, check }: CardFacts): string {
  const { info } = adapter.model
  const base = basename(recipe.base)
  const name = info.text('general.name')
  const license = info.text('general.license')
  const modules = [...new Set(adapter.pairs.map(({ target }) => target.split('.')[2]))].join(', ')
  const how =
    recipe.kind === 'sft'
      ? 'supervised fine-tuning on think-tagged traces'
      : 'GRPO under a length-aware rule-based reward'
  return `# LoRA adapter for ${name ?? base}

- Base: \`${base}\`${name === undefined ? '' : ` (${name})`}${license === undefined ? '' : `, licence ${license}`}; the adapter fits no other base
- Trained by: ${how}; this is ${source}
- LoRA: rank ${adapter.r}, scale ${Number(adapter.scale.toPrecision(6))}, on ${modules}
${rowsLine(recipe)}- Checked: ${check}

## Loading it

llama.cpp:

\`\`\`sh
llama-cli -m ${base} --lora adapter.gguf
\`\`\`

node-llama-cpp:

\`\`\`js
const llama = await getLlama()
const model = await llama.loadModel({ modelPath: '${base}' })
const context = await model.createContext({ lora: 'adapter.gguf' })
\`\`\`

PEFT, on the base's Transformers weights (or the GGUF itself, which Transformers dequantises):

\`\`\`python
base = AutoModelForCausalLM.from_pretrained(".", gguf_file="${base}")
model = PeftModel.from_pretrained(base, "peft")
\`\`\`

The base was ${typeNames(adapter)} while the adapter was trained; on weights of another precision its answers differ slightly.

## Recipe

\`\`\`yaml
${stringify(withoutFolders(recipe)).trim()}
\`\`\`
`
}

/** Adapter files cannot carry rows of the vocabulary's tables, so a base of its own does. */
function rowsLine({ lora, base }: SftRecipe | GrpoRecipe): string {
  const tokens = lora.trainable_token_indices
  if (tokens.length === 0) return ''
  return `- Trained with it: the embedding and head rows of ${tokens.map((token) => `\`${token}\``).join(', ')}. No adapter file can carry them: they are in \`${basename(base)}\`, which differs from the original base in these rows alone. On the original base the adapter answers differently, and so does the PEFT folder.\n`
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
