/** `llama`: SmolLM2, Llama 2 and 3, TinyLlama, Mistral. RMS norms, rotary grouped-query attention, SwiGLU. */
import { AppError } from '../../../shared/errors.ts'
import { attention, attentionBack, byHead } from '../blocks/attention.ts'
import { linear, linearBack } from '../blocks/linear.ts'
import { norm, normBack } from '../blocks/norm.ts'
import { swigluBack } from '../blocks/swiglu.ts'
import type { GgufInfo } from '../gguf.ts'
import type { Architecture, ModelConfig } from './architecture.ts'

function config(info: GgufInfo): ModelConfig {
  const refuse = (what: string): never => {
    throw new AppError(
      'model',
      `${info.path}: ${what}`,
      'Choose another base; `reasonsmith doctor` lists what is supported.'
    )
  }
  const required = (key: string): number => info.number(`llama.${key}`) ?? refuse(`the key llama.${key} is missing`)
  if ((info.number('llama.expert_count') ?? 0) > 0) refuse('mixture-of-experts models cannot be trained yet')
  const bias = [...info.tensors.keys()].find((name) => name.endsWith('.bias'))
  if (bias !== undefined) refuse(`the bias ${bias} cannot be trained yet`)
  const scaling = info.text('llama.rope.scaling.type') ?? 'none'
  if (scaling !== 'none' && scaling !== 'linear') refuse(`rope scaling '${scaling}' cannot be trained yet`)

  const width = required('embedding_length')
  const heads = required('attention.head_count')
  const headDim = info.number('llama.attention.key_length') ?? width / heads
  if ((info.number('llama.attention.value_length') ?? headDim) !== headDim)
    refuse('keys and values of different sizes cannot be trained yet')
  const contextLength = required('context_length')
  return {
    architecture: 'llama',
    layers: required('block_count'),
    width,
    feedForward: required('feed_forward_length'),
    heads,
    keyHeads: info.number('llama.attention.head_count_kv') ?? heads,
    headDim,
    vocabulary: info.tensors.get('token_embd.weight')?.ne[1] ?? refuse('the tensor token_embd.weight is missing'),
    contextLength,
    normEps: required('attention.layer_norm_rms_epsilon'),
    attentionScale: 1 / Math.sqrt(headDim),
    rope: {
      dimensions: info.number('llama.rope.dimension_count') ?? headDim,
      mode: 0, // neighbouring pairs: llama.cpp's converter permutes q and k for it
      contextLength,
      base: info.number('llama.rope.freq_base') ?? 10000,
      scale: scaling === 'linear' ? 1 / (info.number('llama.rope.scaling.factor') ?? 1) : 1,
      extFactor: 0,
      attnFactor: 1,
      betaFast: 32,
      betaSlow: 1
    },
    head: info.tensors.has('output.weight') ? 'output.weight' : 'token_embd.weight'
  }
}

export const llama: Architecture = {
  name: 'llama',
  config,
  norms: { attention: 'attn_norm.weight', feedForward: 'ffn_norm.weight' },
  linears: {
    q: 'attn_q.weight',
    k: 'attn_k.weight',
    v: 'attn_v.weight',
    o: 'attn_output.weight',
    gate: 'ffn_gate.weight',
    up: 'ffn_up.weight',
    down: 'ffn_down.weight'
  },
  targets: { q_proj: 'q', k_proj: 'k', v_proj: 'v', o_proj: 'o', gate_proj: 'gate', up_proj: 'up', down_proj: 'down' },

  kept: (c, tokens) => ({
    q: [c.headDim, c.heads, tokens],
    k: [c.headDim, tokens, c.keyHeads],
    v: [c.headDim, tokens, c.keyHeads],
    o: [c.headDim * c.heads, tokens],
    x1: [c.width, tokens],
    gate: [c.feedForward, tokens],
    up: [c.feedForward, tokens]
  }),

  forward(g, c, layer, pass, x, slots, place) {
    const { norms, linears, ropeFactors } = layer
    const tokens = x.ne[1]
    const h = norm(g, norms['attention']!, x)
    const fq = linear(g, linears['q']!, h)
    const fk = linear(g, linears['k']!, h)
    const fv = linear(g, linears['v']!, h)
    const rotated = (y: typeof h, heads: number): typeof h =>
      g.rope(g.reshape(y, c.headDim, heads, tokens), pass.positions, ropeFactors, c.rope)
    const q = place('q', rotated(fq.y, c.heads))
    const k = place('k', byHead(g, rotated(fk.y, c.keyHeads)))
    const v = place('v', byHead(g, g.reshape(fv.y, c.headDim, c.keyHeads, tokens)))
    const o = attention(g, q, k, v, pass.chunks, c.attentionScale, slots['o']!)
    const fo = linear(g, linears['o']!, o)
    const x1 = place('x1', g.add(fo.y, x))
    const h2 = norm(g, norms['feedForward']!, x1)
    const fgate = linear(g, linears['gate']!, h2)
    const fup = linear(g, linears['up']!, h2)
    const gate = place('gate', fgate.y)
    const up = place('up', fup.y)
    const act = g.swiglu(gate, up)
    const fdown = linear(g, linears['down']!, act)
    const saved = { x, h, q, k, v, o, x1, h2, gate, up, act } as Record<string, typeof x>
    for (const [name, { u }] of Object.entries({ q: fq, k: fk, v: fv, o: fo, gate: fgate, up: fup, down: fdown })) {
      if (u) saved[`u_${name}`] = u
    }
    return { y: g.add(fdown.y, x1), saved }
  },

  backward(g, c, layer, pass, s, dy) {
    const { norms, linears, ropeFactors } = layer
    const [x, q, k, v, o, x1, gate, up] = [s['x']!, s['q']!, s['k']!, s['v']!, s['o']!, s['x1']!, s['gate']!, s['up']!]
    const tokens = x.ne[1]
    const u = (name: string): typeof x | null => s[`u_${name}`] ?? null

    const act = s['act'] ?? g.swiglu(gate, up)
    const dAct = linearBack(g, linears['down']!, act, u('down'), dy)
    const { dGate, dUp } = swigluBack(g, gate, up, dAct)
    const h2 = s['h2'] ?? norm(g, norms['feedForward']!, x1)
    const dh2 = g.add(
      linearBack(g, linears['gate']!, h2, u('gate'), dGate),
      linearBack(g, linears['up']!, h2, u('up'), dUp)
    )
    const dx1 = g.add(normBack(g, norms['feedForward']!, x1, dh2), dy)

    const dO = linearBack(g, linears['o']!, o, u('o'), dx1)
    const d = attentionBack(g, q, k, v, dO, pass.chunks, c.attentionScale, pass.scratch)
    const unrotated = (dx: typeof x): typeof x =>
      g.reshape(g.ropeBack(dx, pass.positions, ropeFactors, c.rope), dx.ne[0] * dx.ne[1], tokens)
    const dq = unrotated(d.dq)
    const dk = unrotated(byHead(g, d.dk))
    const dv = g.reshape(byHead(g, d.dv), c.headDim * c.keyHeads, tokens)
    const h = s['h'] ?? norm(g, norms['attention']!, x)
    const dh = g.add(
      g.add(linearBack(g, linears['q']!, h, u('q'), dq), linearBack(g, linears['k']!, h, u('k'), dk)),
      linearBack(g, linears['v']!, h, u('v'), dv)
    )
    return g.add(normBack(g, norms['attention']!, x, dh), dx1)
  }
}
