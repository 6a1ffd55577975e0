/**
 * `llama`: SmolLM2, Llama 2 and 3 (with `rope_freqs`), TinyLlama, Mistral. RMS norms, rotary grouped-query attention, SwiGLU.
 * As in llama.cpp, a sliding window that a first Mistral was trained with is not applied.
 */
import { separateGates } from '../blocks/feed-forward.ts'
import { swiglu } from '../blocks/gated.ts'
import { separateHeads } from '../blocks/heads.ts'
import { preNormLayer } from '../blocks/pre-norm-layer.ts'
import type { Architecture } from './architecture.ts'
import { hyperParameters, ROPE } from './hyper-parameters.ts'

export const llama: Architecture = {
  name: 'llama',
  config: (info) =>
    hyperParameters(info, {
      architecture: 'llama',
      ropeMode: ROPE.neighbours, // llama.cpp's converter permutes q and k for it
      wholeHeads: true,
      headsFillWidth: false,
      factors: ['rope_freqs.weight']
    }),
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
  biases: ['q', 'k', 'v', 'o', 'gate', 'up', 'down'],
  targets: { q_proj: 'q', k_proj: 'k', v_proj: 'v', o_proj: 'o', gate_proj: 'gate', up_proj: 'up', down_proj: 'down' },
  ...preNormLayer({ heads: separateHeads, gates: separateGates, gated: swiglu })
}
