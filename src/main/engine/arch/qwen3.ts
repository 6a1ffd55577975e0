/** `qwen3`: Qwen3's dense models. As `llama`, with an RMS norm on each head of q and k, and halves turning together. */
import { separateGates } from '../blocks/feed-forward.ts'
import { swiglu } from '../blocks/gated.ts'
import { normedHeads } from '../blocks/heads.ts'
import { preNormLayer } from '../blocks/pre-norm-layer.ts'
import type { Architecture } from './architecture.ts'
import { hyperParameters, ROPE } from './hyper-parameters.ts'
import { llama } from './llama.ts'

export const qwen3: Architecture = {
  ...llama,
  name: 'qwen3',
  config: (info) =>
    hyperParameters(info, {
      architecture: 'qwen3',
      ropeMode: ROPE.halves,
      wholeHeads: true,
      headsFillWidth: false,
      factors: []
    }),
  norms: { ...llama.norms, q: 'attn_q_norm.weight', k: 'attn_k_norm.weight' },
  biases: [],
  ...preNormLayer({ heads: normedHeads, gates: separateGates, gated: swiglu })
}
