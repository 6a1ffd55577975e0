/** The architectures that can be trained, by the name their GGUF gives. */
import { AppError } from '../../../shared/errors.ts'
import type { GgufInfo } from '../gguf.ts'
import type { Architecture } from './architecture.ts'
import { llama } from './llama.ts'

const ARCHITECTURES: Readonly<Record<string, Architecture>> = { llama }
export const ARCHITECTURE_NAMES: readonly string[] = Object.keys(ARCHITECTURES)

/** Throws AppError('model') when the GGUF names an architecture without a file here. */
export function architectureOf(info: GgufInfo): Architecture {
  const name = info.text('general.architecture') ?? 'unnamed'
  const found = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined
  if (found) return found
  throw new AppError(
    'model',
    `${info.path}: the architecture '${name}' cannot be trained`,
    `Supported architectures: ${ARCHITECTURE_NAMES.join(', ')}.`
  )
}
