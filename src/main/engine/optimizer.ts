/** AdamW with decoupled weight decay on the device, with global-norm clipping; non-finite steps are skipped. */
import { orDispose } from './ffi/owned.ts'
import { Graph, GraphAllocator } from './graph.ts'
import type { Parameter, Parameters } from './parameters.ts'
import { elements, readF32, TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

export type AdamWSettings = {
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly weightDecay: number
  /** Gradients are scaled down to this global norm when theirs is larger. */
  readonly maxGradNorm: number
}

export type StepResult = {
  readonly gradNorm: number
  readonly applied: boolean
  /** Until the sampler, or a trained base's copies, had the new values: nothing where their tensors are shared. */
  readonly syncSeconds: number
}

const GROUPS = ['a', 'b', 'weight'] as const

export class AdamW {
  readonly #parameters: Parameters
  readonly #settings: AdamWSettings
  readonly #pool: TensorPool
  readonly #allocator: GraphAllocator
  readonly #norms: Tensor // [parameters]
  readonly #factor: Tensor // [1]
  readonly #groupSettings: Readonly<Record<Parameter['group'], Tensor>>
  readonly #measure: Graph
  readonly #update: Graph
  /** Updates applied so far: Adam's t. */
  steps = 0

  constructor(parameters: Parameters, settings: AdamWSettings) {
    const { backend } = parameters.model
    const { list } = parameters
    this.#parameters = parameters
    this.#settings = settings
    const pool = new TensorPool(backend, 8)
    this.#norms = pool.add(TYPE.F32, list.length)
    this.#factor = pool.add(TYPE.F32, 1)
    this.#groupSettings = Object.fromEntries(GROUPS.map((group) => [group, pool.add(TYPE.F32, 7)])) as Record<
      Parameter['group'],
      Tensor
    >
    this.#pool = pool.allocate()

    // Σ g² of each tensor, then one small array is read: the device is asked once
    this.#measure = new Graph(backend, list.length * 6 + 16)
    list.forEach(({ gradient }, i) => {
      const flat = this.#measure.reshape(gradient, elements(gradient))
      this.#measure.run(
        this.#measure.cpy(
          this.#measure.sum(this.#measure.sqr(flat)),
          this.#measure.window(this.#norms, [1, 1, 1, 1], [i, 0, 0, 0])
        )
      )
    })
    this.#update = new Graph(backend, list.length * 6 + 16)
    for (const { value, gradient, m, v, group } of list) {
      const scaled = this.#update.mul(gradient, this.#factor)
      this.#update.run(this.#update.adamw(value, scaled, m, v, this.#groupSettings[group]))
    }
    this.#allocator = new GraphAllocator(backend)
    orDispose([this], () => this.#allocator.allocate(this.#measure, this.#update))
  }

  /**
   * One update from the accumulated gradients, which are cleared. `scale` multiplies them first (1 / what they are a sum
   * of). When their norm is not finite nothing changes and `applied` is false.
   */
  step(rates: Readonly<Record<Parameter['group'], number>>, scale = 1): StepResult {
    const { backend } = this.#parameters.model
    const { beta1, beta2, epsilon, weightDecay, maxGradNorm } = this.#settings
    this.#measure.compute()
    const squares = readF32(backend, this.#norms)
    const gradNorm = Math.sqrt(squares.reduce((sum, value) => sum + value, 0)) * scale
    if (!Number.isFinite(gradNorm)) {
      this.#parameters.zeroGradients()
      return { gradNorm, applied: false, syncSeconds: 0 }
    }
    this.steps++
    const clip = gradNorm > maxGradNorm ? maxGradNorm / (gradNorm + 1e-6) : 1 // as torch's clip_grad_norm_
    write(backend, this.#factor, Float32Array.of(scale * clip))
    const corrections = [1 / (1 - beta1 ** this.steps), 1 / (1 - beta2 ** this.steps)]
    for (const group of GROUPS) {
      write(
        backend,
        this.#groupSettings[group],
        Float32Array.of(rates[group], beta1, beta2, epsilon, weightDecay, ...corrections)
      )
    }
    this.#update.compute()
    this.#parameters.zeroGradients()
    const updated = performance.now()
    this.#parameters.publish()
    return { gradNorm, applied: true, syncSeconds: (performance.now() - updated) / 1000 }
  }

  dispose(): void {
    this.#measure.dispose()
    this.#update.dispose()
    this.#allocator.dispose()
    this.#pool.dispose()
  }
}
