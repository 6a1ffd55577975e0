/** The playground, saved traces, and the reward taken apart. */
import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { GrpoSettings } from '../../shared/recipe.ts'
import { readBaseFacts } from '../data/models/base-facts.ts'
import { equalityProcess } from '../evaluation/equality-process.ts'
import { groupAdvantages } from '../reasoning/advantage.ts'
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { createPlayground } from './playground.ts'
import { rolloutReader } from './recorded-rollout.ts'
import { explainReward } from './reward-explanation.ts'
import { traceFileName, traceHtml } from './trace-html.ts'

/** Tokens come one by one; a page draws a few times a second. */
const TOGETHER_MS = 60

export function playCalls(host: Host): Calls<'play'> {
  const { traces } = host.store
  const playground = createPlayground(host)
  const equality = equalityProcess()
  host.onClose(equality.close)
  const saved = (id: string): ReturnType<typeof traces.get> & object => {
    const trace = traces.get(id)
    if (trace === undefined)
      throw new AppError('usage', 'there is no such trace', 'It was removed; undo brings it back.')
    return trace
  }
  return {
    ask: async ({ policy, turns, sampling, max_completion_length, seed }) => {
      await readBaseFacts(policy.base)
      const { base, adapter } = policy
      return { id: playground.ask({ base, adapter, turns, sampling, maxTokens: max_completion_length, seed }) }
    },
    follow: async ({ id, after, waitMs }, signal) => {
      const before = playground.read(id, after)
      const over = ['done', 'stopped', 'failed'].includes(before.state)
      if (before.cursor > after || over || waitMs === 0) return before
      const deadline = Date.now() + waitMs
      for (let now = before; ; now = playground.read(id, after)) {
        if (now.cursor > after || now.state !== before.state || now.problem !== before.problem) break
        if (Date.now() >= deadline || signal?.aborted === true) return now
        await host.changes.next(`answer/${id}`, deadline - Date.now(), signal)
      }
      await pause(Math.min(TOGETHER_MS, Math.max(0, deadline - Date.now())), undefined, { ref: false })
      return playground.read(id, after)
    },
    stop: ({ id }) => {
      playground.stop(id)
      return {}
    },
    save: (trace) => {
      const kept = traces.add(trace)
      host.changed('play')
      return kept
    },
    saved: ({ search }) => traces.list(search),
    remove: ({ id }) => {
      traces.remove(id)
      host.changed('play')
      return {}
    },
    undoRemove: ({ id }) => {
      traces.undoRemove(id)
      host.changed('play')
      return {}
    },
    exportHtml: ({ id }) => {
      const trace = saved(id)
      return { name: traceFileName(trace), html: traceHtml(trace) }
    },
    rollout: rolloutReader(host),
    explainReward: (asked) => explainReward(asked, equality.compare),
    advantages: ({ rewards, scale_rewards }) => {
      const { std, std_epsilon } = DEFAULTS
      const {
        mean,
        std: spread,
        advantages,
        flat
      } = groupAdvantages(rewards, { scale: scale_rewards, std, epsilon: std_epsilon })
      const note = flat
        ? 'All rewards are equal: every advantage is 0, and no gradient comes from this group.'
        : scale_rewards === 'group'
          ? `(reward − mean) / (${std} standard deviation + ${std_epsilon})`
          : 'reward − mean, not divided by the spread (Dr. GRPO)'
      return { mean, std: spread, advantages: [...advantages], note }
    }
  }
}

const shape = GrpoSettings.shape
const DEFAULTS = { std: shape.std.parse(undefined), std_epsilon: shape.std_epsilon.parse(undefined) }
