/**
 * Where a layer's time goes: each ggml operation of a decoder layer at its real size, and the alternatives to it.
 *
 *   node test/bench/ops.ts --threads 1,2 --tokens 512 --only gemm,lora --seconds 0.2
 *
 * Sizes are SmolLM2-135M's (d 576, feed-forward 1536, 9 heads of 64 over 3 key heads). An operation stands four times in its
 * graph and the graph runs until --seconds are over; the best run counts, since anything else on the machine only adds.
 * With one thread the processor's time is taken instead of the clock's: it is the same on a busy machine.
 */
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { compute } from '../../src/main/engine/backend.ts'
import type { Pointer } from '../../src/main/engine/ffi/structs.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'
import type { TypeName } from '../../src/main/engine/tensor.ts'

const D = 576
const FF = 1536
const HEADS = 9
const KEY_HEADS = 3
const HEAD = 64
const RANK = 16
const VOCABULARY = 49152
const COPIES = 4

/** Makes the operation's operands (`leaf`), then as many of its nodes as asked for. */
type Build = (o: Ops) => () => Pointer
type Case = { readonly group: string; readonly name: string; readonly gflop?: number; readonly build: Build }

/** Bare ggml operations in one context: shapes are the writer's care here, as in C. */
class Ops {
  readonly #backend: Backend
  readonly context: Pointer
  readonly leaves: { ptr: Pointer; type: number; ne: readonly number[] }[] = []

  constructor(backend: Backend) {
    this.#backend = backend
    const { ggml } = backend.native
    const bytes = ggml.tensor_overhead() * 256 + ggml.graph_overhead_custom(128, false)
    this.context = ggml.init({ mem_size: bytes, mem_buffer: null, no_alloc: true })!
  }

  leaf(type: TypeName, ...ne: readonly number[]): Pointer {
    const full = [ne[0] ?? 1, ne[1] ?? 1, ne[2] ?? 1, ne[3] ?? 1]
    const ptr = this.#backend.native.ggml.new_tensor_4d(this.context, TYPE[type], ...full)!
    this.leaves.push({ ptr, type: TYPE[type], ne: full })
    return ptr
  }

  op(name: keyof Backend['native']['ggml'], ...args: readonly unknown[]): Pointer {
    return this.#backend.native.ggml[name](this.context, ...args) as Pointer
  }

  /** The transpose of the first two dimensions as data, in F32 or in another type. */
  transposed(a: Pointer, into?: Pointer): Pointer {
    const view = this.op('permute', a, 1, 0, 2, 3)
    return into === undefined ? this.op('cont', view) : this.op('cpy', view, into)
  }
}

function cases(tokens: number): Case[] {
  const gemm = (type: TypeName, input: number, output: number, columns = tokens): Case => ({
    group: 'gemm',
    name: `${type} [${input}, ${output}] × F32 [${input}, ${columns}]`,
    gflop: (2 * input * output * columns) / 1e9,
    build: (o) => {
      const [w, x] = [o.leaf(type, input, output), o.leaf('F32', input, columns)]
      return () => o.op('mul_mat', w, x)
    }
  })
  const unary = (group: string, name: string, op: (o: Ops, x: Pointer) => Pointer, ...ne: number[]): Case => ({
    group,
    name: `${name} [${ne.join(', ')}]`,
    build: (o) => {
      const x = o.leaf('F32', ...ne)
      return () => op(o, x)
    }
  })
  const binary = (name: string, op: (o: Ops, a: Pointer, b: Pointer) => Pointer, ...ne: number[]): Case => ({
    group: 'elementwise',
    name: `${name} [${ne.join(', ')}]`,
    build: (o) => {
      const [a, b] = [o.leaf('F32', ...ne), o.leaf('F32', ...ne)]
      return () => op(o, a, b)
    }
  })
  const copied = (from: TypeName, to: TypeName, ...ne: [number, number]): Case => ({
    group: 'transpose',
    name: `${from} [${ne.join(', ')}] → ${to}`,
    build: (o) => {
      const [x, into] = [o.leaf(from, ...ne), o.leaf(to, ne[1], ne[0])]
      return () => o.transposed(x, into)
    }
  })
  const thin = (name: string, gflop: number, build: Build): Case => ({ group: 'lora', name, gflop: gflop / 1e9, build })
  const types: TypeName[] = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q4_K', 'Q6_K']
  const kTypes = new Set<TypeName>(['Q4_K', 'Q6_K']) // blocks of 256 do not divide 576
  const m = tokens
  const n = Math.min(128, tokens)
  return [
    ...types.flatMap((type) => [...(kTypes.has(type) ? [] : [gemm(type, D, D), gemm(type, D, FF)]), gemm(type, FF, D)]),
    ...(['F32', 'F16', 'BF16', 'Q8_0'] as const).map((type) => gemm(type, D, VOCABULARY, 64)),
    ...(['F16', 'BF16'] as const).map((type): Case => ({
      group: 'gemm',
      name: `${type} [${D}, ${FF}] × ${type} [${D}, ${tokens}]`,
      gflop: (2 * D * FF * tokens) / 1e9,
      build: (o) => {
        const [w, x] = [o.leaf(type, D, FF), o.leaf(type, D, tokens)]
        return () => o.op('mul_mat', w, x)
      }
    })),
    {
      group: 'gemm',
      name: `out_prod: F32 [${D}, ${FF}] · F32 [${FF}, ${tokens}] (gradient without Wᵀ)`,
      gflop: (2 * D * FF * tokens) / 1e9,
      build: (o) => {
        const [w, dy] = [o.leaf('F32', D, FF), o.leaf('F32', FF, tokens)]
        return () => o.op('out_prod', w, o.op('permute', dy, 1, 0, 2, 3))
      }
    },
    ...[D, FF].flatMap((width) => (['F32', 'F16', 'BF16'] as const).map((to) => copied('F32', to, width, tokens))),
    ...(['F32', 'F16', 'BF16'] as const).map((to) => copied('F32', to, RANK, tokens)),
    copied('F32', 'F32', m, n * HEADS),
    copied('F32', 'F16', m, n * HEADS),
    copied('F16', 'F16', D, FF),
    copied('BF16', 'BF16', D, FF),
    unary(
      'transpose',
      'heads: permute 0213, cont F32',
      (o, x) => o.op('cont', o.op('permute', x, 0, 2, 1, 3)),
      HEAD,
      HEADS,
      tokens
    ),
    unary('elementwise', 'cont F32', (o, x) => o.op('cont', x), D, tokens),
    unary('elementwise', 'cast F32 → F16', (o, x) => o.op('cast', x, TYPE.F16), D, tokens),
    unary('elementwise', 'cast F32 → BF16', (o, x) => o.op('cast', x, TYPE.BF16), D, tokens),
    ...(['add', 'mul'] as const).flatMap((op) =>
      [D, FF].map((width) => binary(op, (o, a, b) => o.op(op, a, b), width, tokens))
    ),
    binary('add_inplace', (o, a, b) => o.op('add_inplace', a, b), D, tokens),
    unary('elementwise', 'scale', (o, x) => o.op('scale', x, 0.5), D, tokens),
    unary('elementwise', 'silu', (o, x) => o.op('silu', x), FF, tokens),
    binary('swiglu_split', (o, a, b) => o.op('swiglu_split', a, b), FF, tokens),
    unary('elementwise', 'rms_norm', (o, x) => o.op('rms_norm', x, 1e-5), D, tokens),
    binary('rms_norm_back', (o, a, b) => o.op('rms_norm_back', a, b, 1e-5), D, tokens),
    ...(['rope_ext', 'rope_ext_back'] as const).map((op): Case => ({
      group: 'elementwise',
      name: `${op} [${HEAD}, ${HEADS}, ${tokens}]`,
      build: (o) => {
        const [x, at] = [o.leaf('F32', HEAD, HEADS, tokens), o.leaf('I32', tokens)]
        return () => o.op(op, x, at, null, HEAD, 0, 8192, 1e5, 1, 0, 1, 32, 1)
      }
    })),
    ...[true, false].map((masked): Case => ({
      group: 'attention',
      name: `soft_max_ext [${m}, ${n}, ${HEADS}]${masked ? ' with an F16 mask' : ''}`,
      build: (o) => {
        const [x, mask] = [o.leaf('F32', m, n, HEADS), masked ? o.leaf('F16', m, n) : null]
        return () => o.op('soft_max_ext', x, mask, 0.125, 0)
      }
    })),
    {
      ...binary('soft_max_ext_back', (o, a, b) => o.op('soft_max_ext_back', a, b, 0.125, 0), m, n, HEADS),
      group: 'attention'
    },
    ...(['F32', 'F16', 'BF16'] as const).flatMap((type): Case[] => [
      {
        group: 'attention',
        name: `K·q: ${type} [${HEAD}, ${m}, ${KEY_HEADS}] × [${HEAD}, ${n}, ${HEADS}]`,
        gflop: (2 * HEAD * m * n * HEADS) / 1e9,
        build: (o) => {
          const [k, q] = [o.leaf(type, HEAD, m, KEY_HEADS), o.leaf('F32', HEAD, n, HEADS)]
          return () => o.op('mul_mat', k, q)
        }
      },
      {
        group: 'attention',
        name: `V·p: ${type} [${m}, ${HEAD}, ${KEY_HEADS}] × [${m}, ${n}, ${HEADS}]`,
        gflop: (2 * HEAD * m * n * HEADS) / 1e9,
        build: (o) => {
          const [v, p] = [o.leaf(type, m, HEAD, KEY_HEADS), o.leaf('F32', m, n, HEADS)]
          return () => o.op('mul_mat', v, p)
        }
      }
    ]),
    ...[D, FF].map((input) =>
      thin(`A·h: [${input}, ${RANK}] × [${input}, ${tokens}]`, 2 * input * RANK * tokens, (o) => {
        const [a, h] = [o.leaf('F32', input, RANK), o.leaf('F32', input, tokens)]
        return () => o.op('mul_mat', a, h)
      })
    ),
    ...[D, FF].flatMap((output) => [
      thin(`B·u: [${RANK}, ${output}] × [${RANK}, ${tokens}]`, 2 * output * RANK * tokens, (o) => {
        const [b, u] = [o.leaf('F32', RANK, output), o.leaf('F32', RANK, tokens)]
        return () => o.op('mul_mat', b, u)
      }),
      thin(`Bᵀ·dy: [${output}, ${RANK}] × [${output}, ${tokens}]`, 2 * output * RANK * tokens, (o) => {
        const [b, dy] = [o.leaf('F32', output, RANK), o.leaf('F32', output, tokens)]
        return () => o.op('mul_mat', b, dy)
      }),
      thin(
        `∇B as mul_mat(uᵀ, dyᵀ), both transposed copies made: [${RANK}, ${output}]`,
        2 * output * RANK * tokens,
        (o) => {
          const [u, dy] = [o.leaf('F32', RANK, tokens), o.leaf('F32', output, tokens)]
          return () => o.op('mul_mat', o.transposed(u), o.transposed(dy))
        }
      ),
      thin(`∇B as mul_mat(uᵀ, dyᵀ), dyᵀ there already: [${RANK}, ${output}]`, 2 * output * RANK * tokens, (o) => {
        const [u, dy] = [o.leaf('F32', RANK, tokens), o.leaf('F32', tokens, output)]
        return () => o.op('mul_mat', o.transposed(u), dy)
      }),
      thin(`∇B as out_prod(u, dy): [${RANK}, ${output}]`, 2 * output * RANK * tokens, (o) => {
        const [u, dy] = [o.leaf('F32', RANK, tokens), o.leaf('F32', output, tokens)]
        return () => o.op('out_prod', u, dy)
      }),
      thin(`∇Bᵀ as out_prod(dy, u): [${output}, ${RANK}]`, 2 * output * RANK * tokens, (o) => {
        const [u, dy] = [o.leaf('F32', RANK, tokens), o.leaf('F32', output, tokens)]
        return () => o.op('out_prod', dy, u)
      })
    ])
  ]
}

/** Best milliseconds of one operation. */
function measure(backend: Backend, build: Build, seconds: number): number {
  const { ggml } = backend.native
  const o = new Ops(backend)
  const make = build(o)
  const graph = ggml.new_graph_custom(o.context, 128, false)!
  for (let i = 0; i < COPIES; i++) ggml.build_forward_expand(graph, make())
  const buffer = ggml.backend_alloc_ctx_tensors_from_buft(o.context, backend.bufferType)!
  ggml.backend_buffer_clear(buffer, 0)
  for (const { ptr, type, ne } of o.leaves) {
    if (type !== TYPE.F32) continue // zeros of the other types take as long
    const values = Float32Array.from(
      { length: ne.reduce((product, size) => product * size, 1) },
      (_, i) => ((i * 37) % 101) / 101 - 0.5
    )
    ggml.backend_tensor_set(ptr, values, 0, values.byteLength)
  }
  let best = Infinity
  const end = performance.now() + seconds * 1000
  for (let runs = 0; runs < 3 || performance.now() < end; runs++) {
    const [started, used] = [performance.now(), process.cpuUsage()]
    compute(backend, graph)
    const { user, system } = process.cpuUsage(used)
    best = Math.min(best, backend.threads === 1 ? (user + system) / 1000 : performance.now() - started)
  }
  ggml.backend_buffer_free(buffer)
  ggml.free(o.context)
  return best / COPIES
}

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '1,2' },
    tokens: { type: 'string', default: '512' },
    only: { type: 'string', default: 'gemm,transpose,elementwise,attention,lora' },
    seconds: { type: 'string', default: '0.15' }
  }
})
const groups = options.only.split(',')
const backends = options.threads.split(',').map((threads) => openBackend({ threads: Number(threads) }))
const tokens = Number(options.tokens)
console.log(`T = ${tokens}; ms of one operation (GFLOP/s); load ${loadavg()[0]!.toFixed(1)} at the start`)
console.log(
  `${''.padEnd(70)} ${backends.map(({ threads }) => `${threads} thread${threads > 1 ? 's' : ''}`.padStart(18)).join('')}`
)
for (const group of groups) {
  console.log(group)
  for (const { name, gflop, build } of cases(tokens).filter((it) => it.group === group)) {
    const columns = backends.map((backend) => {
      const ms = measure(backend, build, Number(options.seconds))
      const rate = gflop === undefined ? '' : ` (${((1000 * gflop) / ms).toFixed(0).padStart(3)})`
      return (ms.toFixed(3) + rate).padStart(18)
    })
    console.log(`  ${name.padEnd(68)} ${columns.join('')}`)
  }
}
console.log(`load ${loadavg()[0]!.toFixed(1)} at the end`)
for (const backend of backends) backend.dispose()
