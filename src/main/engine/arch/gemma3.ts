/**
 * `gemma3`: Gemma 3's text models. Norms before and after each part, norms on the heads of q and k, GeGLU, an embedding
 * scaled by √d and tied to the head, and layers of which most see a sliding window only, with a rotation of their own.
 */
import { feedForward, feedForwardBack, separateGates } from '../blocks/feed-forward.ts'
import { geglu } from '../blocks/gated.ts'
import { normedHeads } from '../blocks/heads.ts'
import type { GgufInfo } from '../gguf.ts'
import type { Architecture, ModelConfig } from './architecture.ts'
import { hyperParameters, refuse, ROPE } from './hyper-parameters.ts'
import { llama } from './llama.ts'

/** llama.cpp knows the 27B model by its layers; its scale is that of width / heads instead of the heads' own size. */
const LAYERS_OF_27B = 62
/** Every sixth layer sees everything, unless the file says otherwise. */
const USUAL_PATTERN = 6

function config(info: GgufInfo): ModelConfig {
  const c = hyperParameters(info, {
    architecture: 'gemma3',
    ropeMode: ROPE.halves,
    wholeHeads: false,
    headsFillWidth: false,
    factors: []
  })
  if ((info.number('gemma3.final_logit_softcapping') ?? 0) !== 0)
    refuse(info, 'final_logit_softcapping cannot be trained')
  const window = info.number('gemma3.attention.sliding_window') ?? 0
  const local = {
    window,
    rope: { ...c.rope, base: info.number('gemma3.rope.freq_base_swa') ?? 10000, scale: 1 },
    layers: localLayers(info, c.layers)
  }
  const scaledBy = c.layers === LAYERS_OF_27B ? Math.floor(c.width / c.heads) : c.headDim
  return {
    ...c,
    attentionScale: 1 / Math.sqrt(scaledBy),
    embeddingScale: Math.fround(Math.sqrt(c.width)),
    local: window > 0 ? local : null
  }
}

/** A list of one flag per layer, or every how many layers one sees everything (0: none does). */
function localLayers(info: GgufInfo, layers: number): boolean[] {
  const key = 'gemma3.attention.sliding_window_pattern'
  const flags = info.list(key)
  if (flags && flags.length !== layers) refuse(info, `${key} has ${flags.length} entries for ${layers} layers`)
  if (flags) return flags.map(Boolean)
  const pattern = info.number(key) ?? USUAL_PATTERN
  return Array.from({ length: layers }, (_, i) => pattern === 0 || i % pattern < pattern - 1)
}

export const gemma3: Architecture = {
  name: 'gemma3',
  config,
  norms: {
    attention: 'attn_norm.weight',
    q: 'attn_q_norm.weight',
    k: 'attn_k_norm.weight',
    attentionPost: 'post_attention_norm.weight',
    feedForward: 'ffn_norm.weight',
    feedForwardPost: 'post_ffw_norm.weight'
  },
  linears: llama.linears,
  biases: [],
  targets: llama.targets,
  heads: normedHeads,
  kept: (c, tokens) => ({
    attended: [c.width, tokens],
    ...separateGates.kept(c, tokens),
    transformed: [c.width, tokens]
  }),

  forward(t, x, o) {
    const attended = t.keep('attended', t.linear('o', o))
    const x1 = t.note('x1', t.g.add(t.norm('attentionPost', attended), x))
    const transformed = t.keep('transformed', feedForward(t, separateGates, geglu, t.norm('feedForward', x1)))
    return t.g.add(t.norm('feedForwardPost', transformed), x1)
  },

  backward(t, x, o, dy) {
    const attended = t.kept('attended')
    const x1 = t.noted('x1', () => t.g.add(t.norm('attentionPost', attended), x))
    const dTransformed = t.normBack('feedForwardPost', t.kept('transformed'), dy)
    const dh1 = feedForwardBack(t, separateGates, geglu, () => t.norm('feedForward', x1), dTransformed)
    const dx1 = t.g.add(t.normBack('feedForward', x1, dh1), dy)
    return { dx: dx1, dO: t.linearBack('o', o, t.normBack('attentionPost', attended, dx1)) }
  }
}
