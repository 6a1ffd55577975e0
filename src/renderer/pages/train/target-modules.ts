/** `lora.target_modules` as a choice of layers: all of them, or a list, in the order of a layer. Pure. */
import { TARGET_MODULES } from '../../../shared/recipe.ts'
import type { TargetModule } from '../../../shared/recipe.ts'

export type Targets = 'all-linear' | readonly TargetModule[]

const FUSED: readonly TargetModule[] = ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']
const SEPARATE: readonly TargetModule[] = TARGET_MODULES.filter(
  (module) => !FUSED.includes(module) || module === 'o_proj' || module === 'down_proj'
)
/** Architectures whose GGUF holds the projections of attention and of the MLP's entrance in one matrix each. */
const FUSED_ARCHITECTURES: ReadonlySet<string> = new Set(['phi3'])

/** The linear layers of a base; every name there is where its architecture is not known. */
export function modulesOf(architecture: string | null): readonly TargetModule[] {
  if (architecture === null) return TARGET_MODULES
  return FUSED_ARCHITECTURES.has(architecture) ? FUSED : SEPARATE
}

/** What the recipe says, whatever stands there; null where it is neither form (the check says why). */
export function readTargets(value: unknown): Targets | null {
  if (value === undefined || value === null || value === 'all-linear') return 'all-linear'
  if (!Array.isArray(value)) return null
  return value.every((one): one is TargetModule => (TARGET_MODULES as readonly unknown[]).includes(one)) ? value : null
}

/** The names to show: those of the base, and those that are written though it has none of them. */
export const shownModules = (targets: Targets, offered: readonly TargetModule[]): readonly TargetModule[] =>
  TARGET_MODULES.filter((one) => offered.includes(one) || (targets !== 'all-linear' && targets.includes(one)))

export const isChosen = (targets: Targets, module: TargetModule): boolean =>
  targets === 'all-linear' || targets.includes(module)

/** With one layer more or less; all that the base has is `all-linear` again. The last one stays. */
export function withModule(
  targets: Targets,
  module: TargetModule,
  on: boolean,
  offered: readonly TargetModule[]
): Targets {
  const before = targets === 'all-linear' ? offered : targets
  const next = TARGET_MODULES.filter((one) => (one === module ? on : before.includes(one)))
  if (next.length === 0) return targets
  const isAll = next.length === offered.length && offered.every((one) => next.includes(one))
  return isAll ? 'all-linear' : next
}

const WORDS: Readonly<Record<TargetModule, string>> = {
  q_proj: 'attention: queries',
  k_proj: 'attention: keys',
  v_proj: 'attention: values',
  qkv_proj: 'attention: queries, keys and values in one',
  o_proj: 'attention: output',
  gate_proj: 'MLP: gate',
  up_proj: 'MLP: entrance',
  gate_up_proj: 'MLP: gate and entrance in one',
  down_proj: 'MLP: exit'
}
export const moduleWords = (module: TargetModule): string => WORDS[module]
