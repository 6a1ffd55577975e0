/** `qwen2`: Qwen2 and Qwen2.5. As `llama`, with biases on q, k and v, and the halves of a head turning together. */
import type { Architecture } from './architecture.ts'
import { hyperParameters, ROPE } from './hyper-parameters.ts'
import { llama } from './llama.ts'

export const qwen2: Architecture = {
  ...llama,
  name: 'qwen2',
  config: (info) =>
    hyperParameters(info, {
      architecture: 'qwen2',
      ropeMode: ROPE.halves,
      wholeHeads: true,
      headsFillWidth: true,
      factors: []
    }),
  biases: ['q', 'k', 'v']
}
