/** The options of `reasonsmith prepare`, and the job's input made of them. */
import { resolve } from 'node:path'
import { InvalidArgumentError, Option } from 'commander'
import { AppError } from '../../shared/errors.ts'

const positive = (text: string): number => {
  const value = Number(text)
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number above 0.')
  return value
}
const tokens = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number, 1 or more.')
  return value
}

export const PREPARE_OPTIONS: readonly Option[] = [
  new Option(
    '--think [tags...]',
    'make think tokens of unused placeholders; spelled <think> </think>, or as the two tags given'
  ),
  new Option('--like <texts...>', 'two texts; the new tokens start near the mean of their tokens').default([
    'think',
    'answer'
  ]),
  new Option('--context <tokens>', 'the context length to write').argParser(tokens),
  new Option(
    '--rope-factor <factor>',
    'multiplies the base of RoPE; default: 2 when --context is more than the model has'
  ).argParser(positive),
  new Option('--system-message <text>', 'the fixed system message; default with --think: the reasoning one'),
  new Option('--f32', 'write every weight in F32, as finetuning_type: full needs it').default(false),
  new Option('--to <file>', 'the GGUF to write; default: beside the base, its name and -prepared'),
  new Option('--text <file>', 'a text for the perplexity before and after; default: a short built-in one'),
  new Option('--force', 'replace a file that is there').default(false)
]

/** Throws AppError('usage') when tags or texts are not two. */
export function prepareInput(base: string, options: Readonly<Record<string, unknown>>): object {
  const { think, like, context, ropeFactor, systemMessage, f32, to, text, force, threads } = options
  return {
    base: resolve(base),
    to: resolve(typeof to === 'string' ? to : base.replace(/(\.gguf)?$/i, '-prepared.gguf')),
    think: think === true ? true : two('--think', think),
    like: two('--like', like),
    context,
    rope_factor: ropeFactor,
    system_message: systemMessage,
    f32,
    text: typeof text === 'string' ? resolve(text) : undefined,
    force,
    threads
  }
}

function two(name: string, values: unknown): unknown {
  if (!Array.isArray(values) || values.length === 2) return values
  throw new AppError(
    'usage',
    `${name} takes two values, ${values.length} were given: ${values.join(' ')}`,
    'Put the base first: reasonsmith prepare base.gguf --think.'
  )
}
