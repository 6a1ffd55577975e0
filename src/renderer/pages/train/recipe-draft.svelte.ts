/**
 * A recipe that is being written: its YAML is the one truth, the form reads the values found in it and changes it by
 * `recipes.edit`. Checks and plans follow both, and an answer to an older text is dropped.
 */
import type { ContractRouterClient } from '@orpc/contract'
import type { Contract } from '../../../shared/contract/index.ts'
import type { Issue } from '../../../shared/contract/call.ts'
import { withValue } from './setting-value.ts'
import type { Values } from './setting-value.ts'

export type RecipeCalls = Pick<ContractRouterClient<Contract>['recipes'], 'check' | 'edit' | 'plan'>
type Plan = Awaited<ReturnType<RecipeCalls['plan']>>

/** A pause in typing after which the text is checked, and after which the plan is made, in milliseconds: a guess that feels right. */
const CHECK_AFTER = 250
const PLAN_AFTER = 700

export class RecipeDraft {
  yaml = $state('')
  kind = $state<'sft' | 'grpo' | 'evaluate' | null>(null)
  values = $state.raw<Values | null>(null)
  issues = $state.raw<readonly Issue[]>([])
  plan = $state.raw<Plan | null>(null)
  /** `behind`: what is shown belongs to an older text. */
  checking = $state<'behind' | 'done'>('behind')
  planning = $state<'behind' | 'done'>('behind')
  /** What was typed into the form and is no value, by setting: it is not in the YAML, so nothing starts before it is put right. */
  mistyped = $state.raw<Readonly<Record<string, string>>>({})
  /** The host did not answer: shown beside the form, which goes on. */
  problem = $state.raw<unknown>(null)
  #calls: RecipeCalls
  #edits: Promise<void> = Promise.resolve()
  #checkTimer: ReturnType<typeof setTimeout> | undefined
  #planTimer: ReturnType<typeof setTimeout> | undefined

  constructor(calls: RecipeCalls, yaml: string) {
    this.#calls = calls
    this.replace(yaml)
  }

  /** Another text altogether: a preset, a run's recipe. */
  replace(yaml: string): void {
    this.yaml = yaml
    this.mistyped = {}
    this.#later(0)
  }

  /** What the editor holds now. */
  write(yaml: string): void {
    if (yaml === this.yaml) return
    this.yaml = yaml
    this.#later(CHECK_AFTER)
  }

  /** Sets one setting, or removes it (null). The form shows it at once; the text follows in order. */
  set(path: string, value: unknown): Promise<void> {
    this.mark(path, null)
    if (this.values !== null) this.values = withValue(this.values, path, value)
    this.checking = 'behind'
    this.#edits = this.#edits.then(() => this.#edit(path, value))
    return this.#edits
  }

  /** Notes or takes back that what stands in a field is no value. */
  mark(path: string, problem: string | null): void {
    const { [path]: _, ...others } = this.mistyped
    this.mistyped = problem === null ? others : { ...others, [path]: problem }
  }

  close(): void {
    clearTimeout(this.#checkTimer)
    clearTimeout(this.#planTimer)
  }

  issuesAt(path: string): readonly Issue[] {
    return this.issues.filter((issue) => issue.path === path)
  }

  /** Applied to the text as it is when the answer comes: typing meanwhile is not undone. */
  async #edit(path: string, value: unknown): Promise<void> {
    try {
      for (;;) {
        const before = this.yaml
        const { yaml } = await this.#calls.edit({ yaml: before, path, value })
        if (this.yaml !== before) continue
        this.yaml = yaml
        break
      }
      this.problem = null
      this.#later(0)
    } catch (error) {
      this.problem = error
      this.#later(0)
    }
  }

  #later(checkAfter: number): void {
    this.checking = 'behind'
    this.planning = 'behind'
    clearTimeout(this.#checkTimer)
    clearTimeout(this.#planTimer)
    this.#checkTimer = setTimeout(() => void this.#check(), checkAfter)
    this.#planTimer = setTimeout(() => void this.#makePlan(), checkAfter + PLAN_AFTER)
  }

  async #check(): Promise<void> {
    const yaml = this.yaml
    try {
      const { kind, values, issues } = await this.#calls.check({ yaml })
      if (yaml !== this.yaml) return
      this.kind = kind
      // A text that is no YAML at the moment keeps the form as it was.
      if (values !== null) this.values = values
      this.issues = issues
      this.problem = null
      this.checking = 'done'
    } catch (error) {
      if (yaml === this.yaml) this.problem = error
    }
  }

  async #makePlan(): Promise<void> {
    const yaml = this.yaml
    try {
      const plan = await this.#calls.plan({ yaml })
      if (yaml !== this.yaml) return
      this.plan = plan
      this.planning = 'done'
    } catch (error) {
      if (yaml === this.yaml) this.problem = error
    }
  }
}
