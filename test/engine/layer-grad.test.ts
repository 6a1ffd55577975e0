/** A whole layer of every architecture against central differences. Bounds and their reasons: differences.ts. */
import { expect, test } from 'vitest'
import type { Architecture, ModelConfig } from '../../src/main/engine/arch/architecture.ts'
import { gemma3 } from '../../src/main/engine/arch/gemma3.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import { phi3 } from '../../src/main/engine/arch/phi3.ts'
import { qwen2 } from '../../src/main/engine/arch/qwen2.ts'
import { qwen3 } from '../../src/main/engine/arch/qwen3.ts'
import { geglu, smoothGelu } from '../../src/main/engine/blocks/gated.ts'
import { Tape } from '../../src/main/engine/blocks/tape.ts'
import type { Graph } from '../../src/main/engine/graph.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { relativeDifference } from './compare.ts'
import { expectGradients } from './differences.ts'
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
])('%s, weights and LoRA trained together, activations kept and computed again', (_, architecture, c, step) => {
  const rig = new Rig(own)
  const { layer, norms, linears } = layerOf(rig, architecture, c)
  const x = rig.random('x', 1, c.width, T)
  const dy = rig.random('dy', 1, c.width, T)
  const dx = [rig.zeros(c.width, T), rig.zeros(c.width, T)] as const
  rig.ready()
  const { pass, activations } = passOf(own, rig, architecture, c, 40)
  const slots = activations.kept[0]!
  const about = { config: c, layer, pass, slots }
  const forward = rig.graph((g) => architecture.forward(new Tape(withoutTable(g), about), x))

  const checked = (
    [
      [false, dx[0]],
      [true, dx[1]]
    ] as const
  ).map(([fromKept, into]) => {
    const zeroed = [...norms, ...linears].flatMap((it) => [
      it.gradient!,
      ...('lora' in it ? [it.lora!.gradA, it.lora!.gradB] : []),
      ...('lora' in it && it.bias ? [it.bias.gradient!] : [])
    ])
    rig
      .graph((g) => {
        for (const gradient of zeroed) g.run(g.fill(gradient, 0))
        for (const it of linears) rig.transposed(g, it.weight, it.transposed!)
        const whole = new Tape(withoutTable(g), about)
        architecture.forward(whole, x)
        const names = Object.keys(architecture.kept(c, T))
        const saved = Object.fromEntries(names.map((name) => [name, whole.kept(name)]))
        return g.cpy(architecture.backward(fromKept ? new Tape(g, about, { saved }) : whole, x, dy), into)
      })
      .compute()
    return [
      rig.checked('x', x, into),
      ...norms.map((it) => rig.checked(`${it.name} norm`, it.weight, it.gradient!)),
      ...linears.flatMap((it) => [
        rig.checked(it.name, it.weight, it.gradient!),
        ...(it.bias ? [rig.checked(`${it.name} bias`, it.bias.value, it.bias.gradient!)] : []),
        rig.checked(`${it.name} A`, it.lora!.a, it.lora!.gradA),
        rig.checked(`${it.name} B`, it.lora!.b, it.lora!.gradB)
      ])
    ]
  })
  const [again, kept] = checked
  again!.forEach(({ name, gradient }, i) => expect(kept![i]!.gradient, name).toEqual(gradient))
  expectGradients(rig.backend, rig.weigh(forward, dy), again!, step)
})

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
