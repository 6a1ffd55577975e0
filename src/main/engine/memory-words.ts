/** A memory plan in words: printed, and refused with the setting to change. */
import { AppError } from '../../shared/errors.ts'
import type { ModelConfig } from './arch/architecture.ts'
import { PLAN_ITEMS } from './memory-plan.ts'
import type { Plan, PlanRequest } from './memory-plan.ts'

const MIB = 2 ** 20

/** Names the setting behind the largest part of the plan. */
export function whatToChange(
  { bytes, totalBytes, limitBytes }: Plan,
  { trained, tokens, rollouts, givenAdapter }: PlanRequest,
  config: ModelConfig
): string {
  const parts = [
    {
      bytes: bytes.boundaries + bytes.activations + bytes.masks + bytes.scratch,
      change: `Lower ${rollouts ? 'max_completion_length or max_prompt_length' : 'max_length'}: packed rows are ${tokens} tokens.`
    },
    {
      bytes: bytes['KV cache'] + bytes.decoding,
      change: rollouts?.fixedWidth
        ? `Lower rollout_width (${rollouts.width}) or max_completion_length.`
        : 'Lower max_completion_length or max_prompt_length.'
    },
    {
      bytes: bytes.adapter + bytes.gradients + bytes.optimizer,
      change:
        trained.kind === 'lora' && givenAdapter
          ? `Start from an adapter of a lower rank than ${trained.r}.`
          : trained.kind === 'lora'
            ? `Lower lora.r (${trained.r}) or name fewer target_modules.`
            : 'Set finetuning_type: lora, which trains an adapter instead of every weight.'
    },
    {
      bytes: bytes.weights + bytes.copies + bytes['head chunk'],
      change: `Choose a smaller base (this one has ${config.layers} layers of width ${config.width}) or raise memory_limit_mib.`
    }
  ]
  const over = totalBytes - limitBytes
  const enough = parts.filter((part) => part.bytes > over)
  const [largest] = (enough.length > 0 ? enough : parts).sort((a, b) => b.bytes - a.bytes)
  return largest!.change
}

/** Throws AppError('memory') with the setting to change when the plan does not fit. */
export function requirePlan(plan: Plan): Plan {
  if (plan.fits) return plan
  throw new AppError(
    'memory',
    `the run needs ${inMib(plan.totalBytes)} MiB, ${inMib(plan.limitBytes)} MiB are allowed`,
    plan.change ?? 'Raise memory_limit_mib.'
  )
}

const inMib = (bytes: number): string => (bytes / MIB).toFixed(1)

/** One aligned line per item, the total, the settings and why. */
export function printPlan(plan: Plan): string[] {
  const rows = [
    ...PLAN_ITEMS.map((item) => [item, inMib(plan.bytes[item])] as const),
    ['peak', inMib(plan.totalBytes)] as const
  ]
  const wide = Math.max(...rows.map(([, value]) => value.length))
  const lines = rows.map(([item, value]) => `${item.padEnd(12)}${value.padStart(wide)} MiB`)
  const { keep, chunkTokens, chunkQueries, headRows } = plan.settings
  const layers = chunkTokens === undefined ? '' : `layers in chunks of ${chunkTokens} tokens, `
  const { sampling } = plan
  return [
    ...lines.slice(0, -1),
    `${lines.at(-1)!} of ${inMib(plan.limitBytes)} MiB allowed`,
    ...(plan.hostBytes > 0 ? [`and ${inMib(plan.hostBytes)} MiB of the host’s memory`] : []),
    `keep ${keep}, ${layers}attention in chunks of ${chunkQueries} queries, head in chunks of ${headRows} tokens`,
    ...(sampling ? [`${sampling.width} sequences at once, keys and values in ${sampling.cacheType}`] : []),
    ...plan.reasons,
    ...(plan.change === null ? [] : [plan.change])
  ]
}
