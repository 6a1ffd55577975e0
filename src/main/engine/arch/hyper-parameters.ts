/** The hyper-parameters that architectures share, read as llama.cpp reads them (`llama-model.cpp`, load_hparams). */
import { AppError } from '../../../shared/errors.ts'
import type { GgufInfo } from '../gguf.ts'
import type { Rope } from '../rope.ts'
import type { ModelConfig } from './architecture.ts'

/** Which elements of a head turn together (`ggml.h`, GGML_ROPE_TYPE). */
export const ROPE = { neighbours: 0, halves: 2 } as const

export type Family = {
  readonly architecture: string
  readonly ropeMode: number
  /** llama.cpp's graph of this architecture turns whole heads only. */
  readonly wholeHeads: boolean
  /** llama.cpp's loader of this architecture wants head_count · head size to be the width. */
  readonly headsFillWidth: boolean
  /** Tensors with factors for the rotation's frequencies: for short and for long contexts, or one for both. */
  readonly factors: readonly string[]
}

/** Throws AppError('model') with what is not supported in this file. */
export function refuse(info: GgufInfo, what: string): never {
  throw new AppError(
    'model',
    `${info.path}: ${what}`,
    'Choose another base; `reasonsmith doctor` lists what is supported.'
  )
}

export function hyperParameters(info: GgufInfo, family: Family): ModelConfig {
  const name = family.architecture
  const number = (key: string): number | undefined => info.number(`${name}.${key}`)
  const required = (key: string): number =>
    number(key) ?? refuse(info, `the key ${name}.${key} is missing, or differs by layer`)
  const count = (key: string): number => {
    const value = required(key)
    return Number.isInteger(value) && value > 0 ? value : refuse(info, `the key ${name}.${key} is ${value}`)
  }

  if ((number('expert_count') ?? 0) > 0) refuse(info, 'mixture-of-experts models cannot be trained')
  const layers = count('block_count')
  if (layers > info.tensors.size) refuse(info, `it has ${info.tensors.size} tensors for ${layers} layers`)
  const width = count('embedding_length')
  const heads = count('attention.head_count')
  const keyHeads = info.has(`${name}.attention.head_count_kv`) ? count('attention.head_count_kv') : heads
  if (heads % keyHeads !== 0) refuse(info, `${heads} heads cannot share ${keyHeads} heads of keys and values`)
  const headDim = number('attention.key_length') ?? width / heads
  if ((number('attention.value_length') ?? width / heads) !== headDim)
    refuse(info, 'keys and values of different sizes cannot be trained')
  if (family.headsFillWidth && headDim * heads !== width)
    refuse(info, `${heads} heads of ${headDim} are not the width ${width}, which '${name}' needs`)
  if (!Number.isInteger(headDim) || headDim < 1) refuse(info, `a head of ${headDim} values cannot be trained`)
  const normEps = required('attention.layer_norm_rms_epsilon')
  if (!(normEps >= 0 && normEps < 1)) refuse(info, `the key ${name}.attention.layer_norm_rms_epsilon is ${normEps}`)
  const contextLength = count('context_length')
  const rope = ropeOf(info, family, headDim)
  const factors = (tensor: string | undefined): string | null =>
    tensor !== undefined && info.tensors.has(tensor) ? tensor : null
  return {
    architecture: name,
    layers,
    width,
    feedForward: count('feed_forward_length'),
    heads,
    keyHeads,
    headDim,
    vocabulary: info.tensors.get('token_embd.weight')?.ne[1] ?? refuse(info, 'the tensor token_embd.weight is missing'),
    contextLength,
    normEps,
    attentionScale: 1 / Math.sqrt(headDim),
    embeddingScale: 1,
    rope,
    ropeFactors: {
      short: factors(family.factors[0]),
      long: factors(family.factors.at(-1))
    },
    shortContext: rope.contextLength,
    local: null,
    head: info.tensors.has('output.weight') ? 'output.weight' : 'token_embd.weight'
  }
}

/** Keys of YaRN with which llama.cpp would compute something else than ropeOf says. */
const ODD_YARN = ['yarn_log_multiplier', 'yarn_ext_factor', 'yarn_attn_factor', 'yarn_beta_fast', 'yarn_beta_slow']

/** The rotation as llama.cpp's context sets it up (`llama-context.cpp`) with its default parameters. */
function ropeOf(info: GgufInfo, { architecture, ropeMode, wholeHeads }: Family, headDim: number): Rope {
  const number = (key: string): number | undefined => info.number(`${architecture}.rope.${key}`)
  const dimensions = number('dimension_count') ?? headDim
  if (wholeHeads && dimensions !== headDim)
    refuse(info, `rotating ${dimensions} of the ${headDim} elements of a head cannot be trained in '${architecture}'`)
  const base = number('freq_base') ?? 10000
  if (!(base > 0 && base < Infinity)) refuse(info, `the key ${architecture}.rope.freq_base is ${base}`)
  const scaling = info.text(`${architecture}.rope.scaling.type`) ?? 'linear'
  if (scaling !== 'none' && scaling !== 'linear' && scaling !== 'yarn')
    refuse(info, `the rope scaling '${scaling}' cannot be trained`)
  const odd = ODD_YARN.find((key) => info.has(`${architecture}.rope.scaling.${key}`))
  if (scaling === 'yarn' && odd !== undefined) refuse(info, `the rope scaling key ${odd} cannot be trained`)
  const factor = number('scaling.factor') ?? number('scale_linear') ?? 0
  if (scaling === 'yarn' && factor < 1)
    refuse(info, `the rope scaling 'yarn' with a factor of ${factor} cannot be trained`)
  return {
    dimensions,
    mode: ropeMode,
    contextLength: number('scaling.original_context_length') ?? info.number(`${architecture}.context_length`) ?? 0,
    base,
    scale: scaling === 'none' || factor === 0 ? 1 : 1 / factor,
    extFactor: scaling === 'yarn' ? 1 : 0,
    attnFactor: number('scaling.attn_factor') ?? 1, // YaRN's own is inside rope_ext
    betaFast: 32,
    betaSlow: 1
  }
}
