/** The files of an export, by name: what each is for. Pure. */

const WORDS: readonly (readonly [RegExp, string | ((type: string) => string)])[] = [
  [/^adapter\.gguf$/, 'the adapter, for llama.cpp and LM Studio, together with its base'],
  [/^peft$/, 'the adapter for Python: PEFT and Transformers'],
  [/^merged-(F16|BF16|F32)\.gguf$/, (type) => `base and adapter in one, ${type}: runs wherever GGUF runs`],
  [/^merged-(\w+)\.gguf$/, (type) => `base and adapter in one, quantised to ${type}`],
  [/^model\.gguf$/, 'the whole model in F32, every weight trained: it needs no base'],
  [/^model-(F16|BF16)\.gguf$/, (type) => `the whole model in ${type}: runs wherever GGUF runs`],
  [/^model-(\w+)\.gguf$/, (type) => `the whole model, quantised to ${type}`],
  [/^base\.gguf$/, 'the base with its trained token rows; the adapter belongs to it'],
  [/^Modelfile$/, 'for Ollama: ollama create NAME -f Modelfile'],
  [/^README\.md$/, 'the model card: what it is, what it was trained on, how to load it']
]

/** '' for a file no export writes. */
export function fileWords(name: string): string {
  for (const [pattern, words] of WORDS) {
    const found = pattern.exec(name)
    if (found) return typeof words === 'string' ? words : words(found[1]!)
  }
  return ''
}

/** A model that answers by itself. */
export const isModel = (name: string): boolean => /^(merged-\w+|model(-\w+)?|base)\.gguf$/.test(name)
