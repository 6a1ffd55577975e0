/**
 * `phi3`: Phi-3 and Phi-3.5-mini, Phi-4-mini, Phi-4. As `llama`, with q, k and v in one matrix and gate and up in another,
 * halves of a head turning together, in some models a part of each head only (Phi-4-mini), with factors on the frequencies
 * that differ between short and long contexts. As in llama.cpp, Phi-3-mini-4k's sliding window is not applied.
 */
import { fusedGates } from '../blocks/feed-forward.ts'
import { swiglu } from '../blocks/gated.ts'
import { fusedHeads } from '../blocks/heads.ts'
import { preNormLayer } from '../blocks/pre-norm-layer.ts'
import type { Architecture } from './architecture.ts'
import { hyperParameters, ROPE } from './hyper-parameters.ts'

export const phi3: Architecture = {
  name: 'phi3',
  config: (info) =>
    hyperParameters(info, {
      architecture: 'phi3',
      ropeMode: ROPE.halves,
      wholeHeads: false,
      headsFillWidth: true,
      factors: ['rope_factors_short.weight', 'rope_factors_long.weight']
    }),
  norms: { attention: 'attn_norm.weight', feedForward: 'ffn_norm.weight' },
  linears: {
    qkv: 'attn_qkv.weight',
    o: 'attn_output.weight',
    gateUp: 'ffn_up.weight',
    down: 'ffn_down.weight'
  },
  biases: [],
  targets: { qkv_proj: 'qkv', o_proj: 'o', gate_up_proj: 'gateUp', down_proj: 'down' },
  ...preNormLayer({ heads: fusedHeads, gates: fusedGates, gated: swiglu })
}
