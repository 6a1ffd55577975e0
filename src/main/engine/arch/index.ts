/** The architectures that can be trained, by the name their GGUF gives. */
import { AppError } from '../../../shared/errors.ts'
import type { GgufInfo } from '../gguf.ts'
import { TYPE, WEIGHT_TYPES } from '../tensor.ts'
import { biasName } from './architecture.ts'
import type { Architecture, ModelConfig } from './architecture.ts'
import { gemma3 } from './gemma3.ts'
import { refuse } from './hyper-parameters.ts'
import { llama } from './llama.ts'
import { phi3 } from './phi3.ts'
import { qwen2 } from './qwen2.ts'
import { qwen3 } from './qwen3.ts'

const ARCHITECTURES: Readonly<Record<string, Architecture>> = { llama, qwen2, qwen3, phi3, gemma3 }
export const ARCHITECTURE_NAMES: readonly string[] = Object.keys(ARCHITECTURES)

/**
 * The architecture and settings of a file, from its header alone. Throws AppError('model') for an architecture without a
 * file here, for settings it does not know, and for tensors that its forward would leave out.
 */
export function architectureOf(info: GgufInfo): { architecture: Architecture; config: ModelConfig } {
  const name = info.text('general.architecture') ?? 'unnamed'
  const architecture = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined
  if (!architecture) {
    throw new AppError(
      'model',
      `${info.path}: the architecture '${name}' cannot be trained`,
      `Supported architectures: ${ARCHITECTURE_NAMES.join(', ')}.`
    )
  }
  const config = architecture.config(info)
  checkTensors(info, architecture, config)
  return { architecture, config }
}

const TRAINED_ON: ReadonlySet<number> = new Set(WEIGHT_TYPES.map((name) => TYPE[name]))

/** Every tensor must have a place in the forward, and every place a tensor. */
function checkTensors(info: GgufInfo, architecture: Architecture, c: ModelConfig): void {
  const { norms, linears, biases } = architecture
  const inLayers = (names: readonly string[]): string[] =>
    Array.from({ length: c.layers }, (_, layer) => names.map((name) => `blk.${layer}.${name}`)).flat()
  const needed = [
    'token_embd.weight',
    'output_norm.weight',
    ...inLayers([...Object.values(norms), ...Object.values(linears)])
  ]
  const optional = [
    c.head,
    ...Object.values(c.ropeFactors),
    ...inLayers(biases.map((role) => biasName(linears[role]!)))
  ]
  const known = new Set([...needed, ...optional])
  for (const [name, { type }] of info.tensors) {
    if (!known.has(name)) {
      const what = name.endsWith('.bias') ? 'bias' : 'tensor'
      refuse(info, `the ${what} ${name} cannot be trained in '${architecture.name}'`)
    }
    if (!TRAINED_ON.has(type)) refuse(info, `the tensor ${name} is of ggml’s type ${type}, which cannot be trained on`)
  }
  const missing = needed.find((name) => !info.tensors.has(name))
  if (missing !== undefined) refuse(info, `the tensor ${missing} is missing`)
}
