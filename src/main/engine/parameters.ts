/**
 * What is trained: the pairs of an adapter, or every weight of a small F32 model; with gradients and AdamW state.
 * `layers` gives an architecture its weights with all of this attached.
 */
import { attentionOf, biasName, isRopeFactors } from './arch/architecture.ts'
import type { Layer } from './arch/architecture.ts'
import type { Adapter } from './adapter.ts'
import type { Linear } from './blocks/linear.ts'
import type { Norm } from './blocks/norm.ts'
import { orDispose } from './ffi/owned.ts'
import type { Graph } from './graph.ts'
import type { Model } from './model.ts'
import { TrainedRows } from './trained-rows.ts'
import { TensorPool, TYPE } from './tensor.ts'
import type { Tensor } from './tensor.ts'
import { WeightCopies } from './weight-copies.ts'
import type { Transposes } from './weight-copies.ts'
import { requireF32 } from './whole-model.ts'

/** One trained tensor. `group` chooses its learning rate: LoRA+ gives `b` a higher one. */
export type Parameter = {
  readonly name: string
  readonly group: 'a' | 'b' | 'weight'
  readonly value: Tensor
  readonly gradient: Tensor
  readonly m: Tensor
  readonly v: Tensor
}

export type Trained = { readonly kind: 'adapter'; readonly adapter: Adapter } | { readonly kind: 'full' }

/**
 * In which types the frozen matrices are multiplied. Forward: as the base has them (`own`), or through copies in the type
 * `forwardType` finds fastest. Backward: see `transposeType`, unless it is given; cached where nothing is said.
 */
export type ComputeTypes = {
  readonly forward?: ForwardWeights
  readonly transposes?: Transposes | undefined
  readonly transposeType?: number
}
export type ForwardWeights = 'own' | 'copies'

export type ParameterOptions = ComputeTypes & {
  /** Tokens whose rows are trained beside an adapter, by id. */
  readonly tokenIndices?: readonly number[]
}

export class Parameters {
  readonly model: Model
  readonly trained: Trained
  readonly list: readonly Parameter[]
  /** The network with its adapter, and without it: the reference policy. */
  readonly layers: readonly Layer[]
  readonly referenceLayers: readonly Layer[]
  readonly outputNorm: Norm
  readonly head: Linear
  /** Rows of single tokens that are trained, with the gradient of each table. */
  readonly rows: { readonly trained: TrainedRows; readonly gradients: readonly Tensor[] } | null
  readonly embedding: { readonly weight: Tensor; readonly gradient: Tensor | null }
  readonly #gradients: TensorPool
  readonly #moments: TensorPool
  readonly #copies: WeightCopies

  /** Throws AppError('memory'), AppError('model') for a base that lacks a weight; then nothing native is left. */
  constructor(model: Model, trained: Trained, options: ParameterOptions = {}) {
    const { backend, config, architecture } = model
    const orNothing = <T>(work: () => T): T => orDispose([this], work)
    const weightOf = (name: string): Tensor => orNothing(() => model.weight(name))
    this.model = model
    this.trained = trained
    const names = [...model.info.tensors.keys()]
    const weights =
      trained.kind === 'full' ? names.filter((name) => model.optionalWeight(name) !== null && !isRopeFactors(name)) : []
    if (trained.kind === 'full') requireF32(model.info, (type) => backend.native.ggml.type_name(type).toUpperCase())
    const tokenIndices = trained.kind === 'adapter' ? (options.tokenIndices ?? []) : []
    const rows = tokenIndices.length > 0 ? new TrainedRows(model, tokenIndices) : null
    const values: { name: string; group: Parameter['group']; value: Tensor }[] =
      trained.kind === 'full'
        ? weights.map((name) => ({ name, group: 'weight', value: model.weight(name) }))
        : trained.adapter.pairs.flatMap(({ target, a, b }) => [
            { name: `${target}.lora_a`, group: 'a' as const, value: a },
            { name: `${target}.lora_b`, group: 'b' as const, value: b }
          ])
    for (const { name, value } of rows?.tables ?? []) values.push({ name: `${name}.rows`, group: 'weight', value })
    this.#gradients = new TensorPool(backend, values.length + 1)
    this.#moments = new TensorPool(backend, values.length * 2 + 1)
    this.#copies = new WeightCopies(backend, config.layers)
    this.list = values.map((value) => ({
      ...value,
      gradient: this.#gradients.add(TYPE.F32, ...value.value.ne),
      m: this.#moments.add(TYPE.F32, ...value.value.ne),
      v: this.#moments.add(TYPE.F32, ...value.value.ne)
    }))
    orNothing(() => [this.#gradients, this.#moments].forEach((pool) => pool.allocate()))
    const gradientOf = new Map(this.list.map((parameter) => [parameter.name, parameter.gradient]))
    this.rows = rows && {
      trained: rows,
      gradients: rows.tables.map(({ name }) => gradientOf.get(`${name}.rows`)!)
    }
    const pairs = new Map(trained.kind === 'adapter' ? trained.adapter.pairs.map((pair) => [pair.target, pair]) : [])

    const linear = (name: string, role: string, layer?: number): Linear => {
      const weight = weightOf(name)
      const packed = orNothing(() => model.packed(name))
      if (packed && options.transposes === 'per layer')
        orNothing(() => {
          throw new Error(`${name} lies packed: its rows cannot be read`)
        })
      const stored = packed ? () => model.stored(name) : undefined
      const back = options.transposeType ?? transposeType(weight.type, weight.ne[1], backend.isCpu)
      const transposed =
        layer !== undefined && options.transposes === 'per layer'
          ? this.#copies.share(layer, role, weight, back)
          : this.#copies.keep(weight, back, true, stored)
      const type =
        options.forward === 'copies' && !packed
          ? forwardType(weight.type, weight.ne[0], role, backend.isCpu)
          : weight.type
      const forward = type === weight.type ? weight : this.#copies.keep(weight, type, false)
      const pair = pairs.get(name)
      const lora =
        pair && trained.kind === 'adapter'
          ? {
              a: pair.a,
              b: pair.b,
              gradA: gradientOf.get(`${name}.lora_a`)!,
              gradB: gradientOf.get(`${name}.lora_b`)!,
              scale: trained.adapter.scale
            }
          : null
      const value = model.optionalWeight(biasName(name))
      const bias = value && { value, gradient: gradientOf.get(biasName(name)) ?? null }
      return { name, weight: forward, transposed, lora, gradient: gradientOf.get(name) ?? null, bias }
    }
    const norm = (name: string): Norm => ({
      name,
      weight: weightOf(name),
      gradient: gradientOf.get(name) ?? null,
      eps: config.normEps
    })
    const factors = (name: string | null): Tensor | null => (name === null ? null : model.weight(name))
    const ropeFactors = { short: factors(config.ropeFactors.short), long: factors(config.ropeFactors.long) }
    this.layers = Array.from({ length: config.layers }, (_, i) => ({
      norms: Object.fromEntries(
        Object.entries(architecture.norms).map(([role, name]) => [role, norm(`blk.${i}.${name}`)])
      ),
      linears: Object.fromEntries(
        Object.entries(architecture.linears).map(([role, name]) => [role, linear(`blk.${i}.${name}`, role, i)])
      ),
      ropeFactors,
      ...attentionOf(config, i)
    }))
    this.referenceLayers = this.layers.map(withoutAdapter)
    this.outputNorm = norm('output_norm.weight')
    this.head = linear(config.head, 'head')
    this.embedding = {
      weight: weightOf('token_embd.weight'),
      gradient: gradientOf.get('token_embd.weight') ?? null
    }
    orNothing(() => this.#copies.allocate())
  }

  /** The graph that makes a layer's Wᵀ before its backward; null where they are cached. */
  transposingGraph(layer: number): Graph | null {
    return this.#copies.graphOf(layer)
  }

  /** Makes trainer and sampler use the values an optimizer step left. */
  publish(): void {
    if (this.trained.kind === 'full') this.#copies.refresh()
    else this.trained.adapter.publish()
    this.rows?.trained.publish()
  }

  zeroGradients(): void {
    this.#gradients.clear()
  }

  /** Bytes on the device, by what they are for. */
  get bytes(): { gradients: number; moments: number; copies: number } {
    return { gradients: this.#gradients.bytes, moments: this.#moments.bytes, copies: this.#copies.bytes }
  }

  dispose(): void {
    this.rows?.trained.dispose()
    this.#gradients.dispose()
    this.#moments.dispose()
    this.#copies.dispose()
  }
}

/** The layer of the base. */
export const withoutAdapter = (layer: Layer): Layer => ({
  ...layer,
  linears: Object.fromEntries(Object.entries(layer.linears).map(([role, it]) => [role, { ...it, lora: null }]))
})

/** Elements of a Q8_0 block. */
const Q8_BLOCK = 32

/**
 * The type of Wᵀ [out, in]: a float base's own. A quantised base's is F16; on the CPU Q8_0, whose products are twice as fast
 * there without vector instructions for F16, and whose rounding moves gradients no more than BF16's would: on SmolLM2
 * (Q4_1) by 3.1 % in norm at a cosine of 0.9996, against 3.6 % with BF16 weights.
 */
export function transposeType(weight: number, output: number, isCpu: boolean): number {
  if (weight === TYPE.F32 || weight === TYPE.F16 || weight === TYPE.BF16) return weight
  return isCpu && output % Q8_BLOCK === 0 ? TYPE.Q8_0 : TYPE.F16
}

/**
 * The type W [in, out] of a quantised base is multiplied in on the CPU when memory allows a copy: Q8_0, whose products are
 * nearly twice as fast there as those of smaller types. The values are what the attention lets through of every token, and
 * the model's outlying activations meet there, which 8 bits serve badly: that small matrix is F32. On SmolLM2 (Q4_1) the
 * gradient is then nearer to that of F32 weights (9.3 % in norm) than with the base's own type (10.5 %), and with Q8_0
 * everywhere it would be 21.6 % off. A matrix that holds the values and more (`qkv`) stays as it is.
 */
export function forwardType(weight: number, input: number, role: string, isCpu: boolean): number {
  const exact = weight === TYPE.F32 || weight === TYPE.F16 || weight === TYPE.BF16 || weight === TYPE.Q8_0
  if (!isCpu || exact || role === 'qkv' || input % Q8_BLOCK !== 0) return weight
  return role === 'v' ? TYPE.F32 : TYPE.Q8_0
}
