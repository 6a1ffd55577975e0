/** The architectures that can be trained, by the name their GGUF gives. */
import { AppError } from '../../../shared/errors.ts'
import { hasWholeBlocks } from '../gguf.ts'
import type { GgufInfo } from '../gguf.ts'
import { TYPE, WEIGHT_TYPES } from '../tensor.ts'
import type { Architecture, ModelConfig } from './architecture.ts'
import { gemma3 } from './gemma3.ts'
import { refuse } from './hyper-parameters.ts'
import { llama } from './llama.ts'
import { phi3 } from './phi3.ts'
import { qwen2 } from './qwen2.ts'
import { qwen3 } from './qwen3.ts'
import { expectedTensors, hasShape, inWords } from './shapes.ts'

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

/** Every tensor must have a place in the forward, and every place a tensor of its shape. */
function checkTensors(info: GgufInfo, architecture: Architecture, config: ModelConfig): void {
  const expected = expectedTensors(architecture, config)
  for (const [name, tensor] of info.tensors) {
    const place = expected.get(name)
    if (!place) {
      const what = name.endsWith('.bias') ? 'bias' : 'tensor'
      refuse(info, `the ${what} ${name} cannot be trained in '${architecture.name}'`)
    }
    const { type, ne } = tensor
    if (!TRAINED_ON.has(type)) refuse(info, `the tensor ${name} is of ggml’s type ${type}, which cannot be trained on`)
    if (!hasShape(tensor, place))
      refuse(info, `the tensor ${name} is ${inWords(ne)}, the file’s own settings make it ${inWords(place.ne)}`)
    if (!hasWholeBlocks(tensor))
      refuse(info, `the tensor ${name} has rows of ${ne[0]} values, which is no whole number of its type’s blocks`)
  }
  for (const [name, { optional }] of expected)
    if (!optional && !info.tensors.has(name)) refuse(info, `the tensor ${name} is missing`)
}
