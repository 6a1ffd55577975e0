/** Which linear layers an adapter is for, in PEFT's names. */
import { AppError } from '../../../shared/errors.ts'
import { TARGET_MODULES } from '../../../shared/recipe.ts'
import type { LoraSettings, TargetModule } from '../../../shared/recipe.ts'
import type { Architecture } from './architecture.ts'

/** The modules of an architecture, in one fixed order. */
export const modulesOf = (architecture: Architecture): TargetModule[] =>
  TARGET_MODULES.filter((module) => architecture.targets[module] !== undefined)

/**
 * What `target_modules` means for this architecture. A module it does not have is refused: PEFT would leave it out in
 * silence, and one that is a part of a fused matrix has no adapter of its own in any file that llama.cpp loads.
 * Throws AppError('recipe').
 */
export function targetModules(architecture: Architecture, wanted: LoraSettings['target_modules']): TargetModule[] {
  const modules = modulesOf(architecture)
  if (wanted === 'all-linear') return modules
  const stranger = wanted.find((module) => !modules.includes(module))
  if (stranger !== undefined) {
    throw new AppError(
      'recipe',
      `lora.target_modules: '${architecture.name}' has no ${stranger}`,
      `Its modules are ${modules.join(', ')}; all-linear means all of them.`
    )
  }
  return modules.filter((module) => wanted.includes(module))
}
