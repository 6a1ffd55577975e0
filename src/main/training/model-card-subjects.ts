/** What a card says of an adapter, and of a whole model. No path of this machine is in it. */
import type { GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import { ADAPTER_FILE, MODEL_FILE } from '../../shared/trained-file.ts'
import type { Adapter } from '../engine/adapter.ts'
import type { GgufInfo } from '../engine/gguf.ts'
import { number } from '../evaluation/report/format.ts'
import { inline } from '../evaluation/report/markdown.ts'
import type { FileFacts } from './export-facts.ts'
import type { MergedFile } from './export-merged.ts'
import type { CardSubject } from './model-card.ts'

type Trained = {
  readonly recipe: SftRecipe | GrpoRecipe
  /** Which adapter or model of the run it is, in words. */
  readonly source: string
  readonly base: FileFacts
  readonly merged: readonly MergedFile[]
}

const HOW = {
  sft: 'supervised fine-tuning on think-tagged traces',
  grpo: 'GRPO under a length-aware rule-based reward'
} as const

const named = (info: GgufInfo): string => {
  const name = info.text('general.name')
  return name === undefined ? '' : ` (${inline(name)})`
}

const hashed = ({ bytes, sha256 }: FileFacts): string => `${number(bytes)} bytes, SHA-256 \`${sha256}\``

export function adapterSubject({ recipe, adapter, source, base, merged }: Trained & { adapter: Adapter }): CardSubject {
  const { info } = adapter.model
  const modules = [...new Set(adapter.pairs.map(({ target }) => target.split('.')[2]))].join(', ')
  return {
    word: 'adapter',
    library: 'peft',
    tags: ['lora', 'gguf', 'reasoning'],
    title: `LoRA adapter${merged.length > 0 ? ' and merged models' : ''} for ${inline(info.text('general.name') ?? base.name)}`,
    facts: [
      `Base: \`${base.name}\`${named(info)}, ${typeNames(adapter)}, ${hashed(base)}; the adapter fits no other base`,
      `Trained by: ${HOW[recipe.kind]}; this is ${inline(source)}`,
      `LoRA: rank ${adapter.r}, scale ${Number(adapter.scale.toPrecision(6))}, on ${modules}`,
      ...rowsLine(recipe, base.name)
    ],
    files: [
      `\`${ADAPTER_FILE}\`: the adapter, for llama.cpp and what is built on it`,
      '`peft/`: the adapter for PEFT and Transformers',
      ...merged.map((it) => typedLine(it, 'base and adapter in one', 'base plus adapter'))
    ],
    loading: adapterLoading(adapter, base.name, merged.at(-1)?.file),
    info
  }
}

export function modelSubject({
  recipe,
  info,
  model,
  source,
  base,
  merged
}: Trained & { info: GgufInfo; model: FileFacts }): CardSubject {
  return {
    word: 'model',
    library: 'gguf',
    tags: ['gguf', 'reasoning', 'full-finetune'],
    title: inline(info.text('general.name') ?? model.name),
    facts: [
      `Started from: \`${base.name}\`, ${hashed(base)}; it is not needed any more`,
      `Trained by: ${HOW[recipe.kind]}, every weight; this is ${inline(source)}`
    ],
    files: [
      `\`${MODEL_FILE}\`: the whole model in F32, ${hashed(model)}`,
      ...merged.map((it) => typedLine(it, 'the same', `\`${MODEL_FILE}\``)),
      'No adapter and no PEFT folder: every weight was trained, so that what changed is as large as the model'
    ],
    loading: `llama.cpp:

\`\`\`sh
llama-cli -m ${merged.at(-1)?.file ?? MODEL_FILE}
\`\`\`

node-llama-cpp:

\`\`\`js
const llama = await getLlama()
const model = await llama.loadModel({ modelPath: '${merged.at(-1)?.file ?? MODEL_FILE}' })
\`\`\`

${OLLAMA}

Transformers, which dequantises the GGUF:

\`\`\`python
model = AutoModelForCausalLM.from_pretrained(".", gguf_file="${MODEL_FILE}")
\`\`\``,
    info
  }
}

const typedLine = ({ file, bytes, weightError }: MergedFile, what: string, exact: string): string =>
  `\`${file}\`: ${what}, ${number(bytes)} bytes; weights are ${weightError.toExponential(1)} of their size (rms) from ${exact}`

const OLLAMA = `Ollama (read the comments in \`Modelfile\` first):

\`\`\`sh
ollama create my-model -f Modelfile
\`\`\``

function adapterLoading(adapter: Adapter, base: string, model: string | undefined): string {
  const alone = (text: string): string => (model === undefined ? '' : text)
  return `llama.cpp:

\`\`\`sh
llama-cli -m ${base} --lora ${ADAPTER_FILE}
${alone(`llama-cli -m ${model}\n`)}\`\`\`

node-llama-cpp:

\`\`\`js
const llama = await getLlama()
const model = await llama.loadModel({ modelPath: '${base}' })
const context = await model.createContext({ lora: '${ADAPTER_FILE}' })
${alone(`// or, without an adapter: llama.loadModel({ modelPath: '${model}' })\n`)}\`\`\`

${OLLAMA}

PEFT, on the base's Transformers weights (or the GGUF itself, which Transformers dequantises):

\`\`\`python
base = AutoModelForCausalLM.from_pretrained(".", gguf_file="${base}")
model = PeftModel.from_pretrained(base, "peft")
\`\`\`

The base was ${typeNames(adapter)} while the adapter was trained; on weights of another precision its answers differ slightly.`
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
