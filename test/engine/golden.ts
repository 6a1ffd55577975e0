/** The golden files: what PyTorch, Transformers and PEFT compute (golden/generate.py says what is in them). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import { readSafetensors } from '../../src/main/engine/safetensors.ts'
import type { SafeTensor } from '../../src/main/engine/safetensors.ts'
import { expectClose } from './compare.ts'
import type { Tolerance } from './compare.ts'

export type VariantSettings = {
  readonly loss_type: 'grpo' | 'dapo' | 'dr_grpo' | 'bnpo'
  readonly ratio: 'token' | 'sequence'
  readonly epsilon_low: number
  readonly epsilon_high: number
  readonly delta: number | null
  readonly beta: number
  readonly kl: 'k1' | 'k2' | 'k3'
  readonly entropy_coef: number
}

export type Variant = {
  readonly settings: VariantSettings
  readonly metrics: { readonly clip_ratio: number; readonly kl: number; readonly entropy: number }
  readonly gradients: boolean
}

type Kind = 'logits' | 'logprob' | 'entropy' | 'loss' | 'grad' | 'grad_norm' | 'dloss' | 'losses' | 'after'

type Header = {
  readonly adamw: { lr: number; betas: [number, number]; eps: number; weight_decay: number; max_grad_norm: number }
  readonly parts: {
    readonly sft: { base: string; adapter: string; sequences: number; steps: number }
    readonly full: { base: string; sequences: number; steps: number }
    readonly grpo: { sequences: number; max_completion: number; variants: Record<string, Variant> }
  }
  readonly tolerances: Record<Kind, Tolerance>
}

const folder = join(import.meta.dirname, 'golden')
const tensors = readSafetensors(join(folder, 'golden.safetensors'))

export const golden = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')) as Header
export const goldenNames = [...tensors.keys()]
export const goldenPath = (file: string): string => join(folder, file)

function tensor(name: string): SafeTensor {
  const found = tensors.get(name)
  if (!found) throw new Error(`the golden file has no ${name}`)
  return found
}

export const goldenArray = (name: string): Float32Array => tensor(name).data as Float32Array

/** A sequence as training takes it. */
export function goldenSequence(part: string, index: number): TrainSequence {
  return {
    tokens: Int32Array.from(tensor(`${part}.seq${index}.tokens`).data as Int32Array),
    mask: Uint8Array.from(goldenArray(`${part}.seq${index}.mask`))
  }
}

/** Elements of a per-token golden array at the tokens that are predicted and count; `name` is one under `part.seqN.`. */
export function goldenTokens(part: string, index: number, name: string, under = part): Float32Array {
  const { mask } = goldenSequence(part, index)
  return goldenArray(`${under}.seq${index}.${name}`).filter((_, t) => t > 0 && mask[t] === 1)
}

/** Holds `ours` against a golden tensor within the file's own tolerance for that kind of number. */
export function expectGolden(ours: ArrayLike<number>, name: string, kind: Kind): void {
  expectClose(ours, goldenArray(name), golden.tolerances[kind], name)
}
