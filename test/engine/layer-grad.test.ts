/** A whole layer of every architecture against central differences. Bounds and their reasons: differences.ts. */
import { expect, test } from 'vitest'
import type { Keep } from '../../src/main/engine/activations.ts'
import type { Architecture, ModelConfig } from '../../src/main/engine/arch/architecture.ts'
import { gemma3 } from '../../src/main/engine/arch/gemma3.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import { phi3 } from '../../src/main/engine/arch/phi3.ts'
import { qwen2 } from '../../src/main/engine/arch/qwen2.ts'
import { qwen3 } from '../../src/main/engine/arch/qwen3.ts'
import { geglu, smoothGelu } from '../../src/main/engine/blocks/gated.ts'
import { layerBackward, layerCapacity, layerForward } from '../../src/main/engine/blocks/layer.ts'
import { Tape } from '../../src/main/engine/blocks/tape.ts'
import type { Values } from '../../src/main/engine/blocks/tape.ts'
import type { Graph } from '../../src/main/engine/graph.ts'
import { elements, readF32 } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { relativeDifference } from './compare.ts'
import { expectGradients } from './differences.ts'
import type { Differentiated } from './differences.ts'
import { CONFIG, LOCAL, layerOf, passOf, ROPE_OF_TEST, T } from './layer-rig.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'

const own = owner()

const HALVES = { ...ROPE_OF_TEST, mode: 2 }
const PARTIAL: ModelConfig = {
  ...CONFIG,
  rope: { ...HALVES, dimensions: 2, attnFactor: 1.3 },
  ropeFactors: { short: null, long: 'factors' },
  shortContext: 64 // of a context of 128
}

type Trained = {
  readonly forward: { read(): Float32Array }
  readonly output: Float32Array
  readonly gradients: readonly Differentiated[]
}

/** ggml's CPU takes GELU from a table of F16, whose steps no difference can be taken of: the smooth function under it. */
function withoutTable(g: Graph): Graph {
  g.geglu = (gate: Tensor, up: Tensor) => g.mul(smoothGelu(g, gate), up)
  return g
}

test.each<[name: string, architecture: Architecture, config: ModelConfig, step?: number]>([
  ['llama', llama, CONFIG],
  ['qwen2', qwen2, { ...CONFIG, rope: HALVES }],
  ['qwen3', qwen3, { ...CONFIG, rope: HALVES }],
  ['phi3, half of each head rotated, long factors', phi3, PARTIAL],
  ['gemma3, a layer that sees everything', gemma3, { ...CONFIG, rope: HALVES }, 0.01],
  ['gemma3, a layer with a window', gemma3, { ...LOCAL, rope: HALVES }, 0.01]
])(
  '%s, weights and LoRA trained together, activations kept and computed again, in one piece and in parts',
  (_, architecture, c, step) => {
    const rig = new Rig(own)
    const { layer, norms, linears } = layerOf(rig, architecture, c)
    const [x, y] = [rig.random('x', 1, c.width, T), rig.zeros(c.width, T)]
    const [dy, dx] = [rig.random('dy', 1, c.width, T), rig.zeros(c.width, T + 1)]
    rig.ready()
    const zeroed = [...norms, ...linears].flatMap((it) => [
      it.gradient!,
      ...('lora' in it ? [it.lora!.gradA, it.lora!.gradB] : []),
      ...('lora' in it && it.bias ? [it.bias.gradient!] : [])
    ])

    const trained = (settings: { keep: Keep; chunkTokens?: number }): Trained => {
      const { pass, activations } = passOf(own, rig, architecture, c, 40, settings)
      const slots = activations.kept[0]!
      const kept = settings.keep === 'all'
      const tape = (g: Graph, saved?: Values): Tape =>
        new Tape(
          withoutTable(g),
          { config: c, layer, pass, slots },
          { place: (node, slot, at) => g.place(node, slot, at), ...(saved && { saved }) }
        )
      const capacity = 1024 + layerCapacity(pass.parts.length, pass.chunks[layer.window]!.length)
      const forward = rig.running((g) => layerForward(tape(g), architecture, x, y), capacity)
      const read = (): Float32Array => (forward.compute(), readF32(rig.backend, y))
      const output = read()
      rig
        .running((g) => {
          for (const gradient of zeroed) g.run(g.fill(gradient, 0))
          for (const it of linears) rig.transposed(g, it.weight, it.transposed!)
          layerBackward(tape(g, kept ? slots : undefined), architecture, x, dy, dx, !kept)
        }, capacity)
        .compute()
      const gradients = [
        { name: 'x', value: x, gradient: readF32(rig.backend, dx, elements(x)) },
        ...norms.map((it) => rig.checked(`${it.name} norm`, it.weight, it.gradient!)),
        ...linears.flatMap((it) => [
          rig.checked(it.name, it.weight, it.gradient!),
          ...(it.bias ? [rig.checked(`${it.name} bias`, it.bias.value, it.bias.gradient!)] : []),
          rig.checked(`${it.name} A`, it.lora!.a, it.lora!.gradA),
          rig.checked(`${it.name} B`, it.lora!.b, it.lora!.gradB)
        ])
      ]
      return { forward: { read }, output, gradients }
    }

    const whole = trained({ keep: 'none' })
    for (const chunkTokens of [undefined, 40, 19]) {
      const again = chunkTokens ? trained({ keep: 'none', chunkTokens }) : whole
      const kept = trained({ keep: 'all', ...(chunkTokens && { chunkTokens }) })
      expect(kept.output).toEqual(again.output)
      again.gradients.forEach(({ name, gradient }, i) => expect(kept.gradients[i]!.gradient, name).toEqual(gradient))
      // Sums over tokens are re-ordered, those of a token are not, but for a chunk of one: another kernel multiplies a vector.
      const same = T % (chunkTokens ?? T) === 1 ? (T - 1) * c.width : T * c.width
      expect(again.output.subarray(0, same)).toEqual(whole.output.subarray(0, same))
      expect(relativeDifference(again.output, whole.output)).toBeLessThan(1e-6)
      again.gradients.forEach(({ name, gradient }, i) =>
        expect(relativeDifference(gradient, whole.gradients[i]!.gradient), name).toBeLessThan(2e-6)
      )
      expectGradients(rig.backend, rig.weigh(again.forward, dy), again.gradients, step)
    }
  }
)

test('GELU: the smooth function is the one in ggml’s table', () => {
  const rig = new Rig(own)
  const gate = rig.random('gate', 3, 64, 8)
  const up = rig.random('up', 1, 64, 8)
  rig.ready()
  const [table, smooth] = [
    rig.graph((g) => geglu.forward(g, gate, up)),
    rig.graph((g) => g.mul(smoothGelu(g, gate), up))
  ]
  // F16 rounds x and gelu(x) to 2⁻¹² each
  expect(relativeDifference(smooth.read(), table.read())).toBeLessThan(1e-3)
})
