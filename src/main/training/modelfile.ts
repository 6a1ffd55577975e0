/**
 * The Ollama `Modelfile` of an export (syntax: docs/modelfile.mdx of ollama/ollama). No TEMPLATE is written: Ollama compares
 * the file's own `tokenizer.chat_template` with those it knows and takes its equivalent; a Go template cannot be derived
 * from a Jinja one in general, and a wrong one is worse than none.
 */
import type { SamplingSettings } from '../../shared/recipe.ts'

export type ModelfileFacts = {
  /** Whole models in the export, the one to take first; or the base's file name and the adapter's, where there is none. */
  readonly from: { readonly models: readonly string[] } | { readonly base: string; readonly adapter: string }
  readonly system: string
  /** Texts that end a turn. */
  readonly stop: readonly string[]
  readonly sampling: SamplingSettings
  /** Tokens of prompt and answer together. */
  readonly contextTokens: number
  readonly hasChatTemplate: boolean
}

export function modelfile(facts: ModelfileFacts): string {
  const { from: what, system, stop, sampling, contextTokens, hasChatTemplate } = facts
  const from =
    'base' in what
      ? [
          `# The adapter fits this base and no other. Put the base beside this file, or write its path.`,
          `FROM ./${what.base}`,
          `ADAPTER ./${what.adapter}`,
          '# Ollama takes adapters for some architectures only; where it refuses this one, export with --merge.'
        ]
      : what.models.map((file, i) => `${i === 0 ? '' : '# '}FROM ./${file}`)
  return `# ollama create my-model -f Modelfile && ollama run my-model
${from.join('\n')}

# Left to Ollama: the chat template. It ${
    hasChatTemplate
      ? 'compares tokenizer.chat_template of the GGUF with the templates it knows and uses\n# its own equivalent. "ollama show --template my-model" prints it: where it is only {{ .Prompt }}, Ollama did not recognise\n# the template, and a TEMPLATE in Go\'s syntax has to be added here.'
      : 'finds none in the GGUF and passes the prompt on as it is, as this base was trained.'
  }
# Whether the thought is shown apart from the answer is Ollama's choice too; the model writes it as <think>…</think>.

${systemLines(system)}
${stop.map((text) => `PARAMETER stop ${quoted(text)}`).join('\n')}
PARAMETER temperature ${sampling.temperature}
PARAMETER top_k ${sampling.top_k}
PARAMETER top_p ${sampling.top_p}
PARAMETER min_p ${sampling.min_p}
# Ollama's versions differ in their default; a penalty hurts thoughts that repeat numbers.
PARAMETER repeat_penalty 1
PARAMETER num_ctx ${contextTokens}
`
}

/** What the model was trained under; it has to be said in use too. */
function systemLines(system: string): string {
  if (system === '') return '# Trained without a system message.'
  if (system.includes('"""') || system.endsWith('"'))
    return `# The system message it was trained under cannot be quoted here; see README.md.`
  return `SYSTEM """${system}"""`
}

const quoted = (text: string): string => (text.includes('"') ? text : `"${text}"`)
