/** What a GGUF adapter says of itself, held against its base before either is loaded: what llama.cpp refuses in a log only. */
import { AppError } from '../../shared/errors.ts'
import { readGguf } from './gguf.ts'
import type { GgufInfo, GgufTensor } from './gguf.ts'
import { TYPE } from './tensor.ts'

export type AdapterHeader = {
  readonly info: GgufInfo
  /** GGUF names of the base's weights that have a pair, in the base's order. */
  readonly targets: readonly string[]
  /** 0 where the file says nothing. */
  readonly alpha: number
  readonly r: number
}

/** Throws AppError('model') where the file is no adapter of one rank, or does not belong to this base. */
export async function readAdapterHeader(base: GgufInfo, path: string): Promise<AdapterHeader> {
  const info = await readGguf(path)
  if (info.text('general.type') !== 'adapter')
    throw new AppError('model', `${path}: this is not an adapter`, 'Give the base under `base`.')
  const [own, needed] = [info, base].map((file) => file.text('general.architecture'))
  if (own !== needed)
    throw new AppError(
      'model',
      `${path}: it is for the architecture ${own ?? 'unnamed'}, ${base.path} is ${needed ?? 'unnamed'}`,
      'Use the base it was trained on.'
    )
  const targets = [...base.tensors.keys()].filter((target) => info.tensors.has(`${target}.lora_a`))
  const pairs = targets.map((target) => pairOf(info, target))
  const stray = [...info.tensors.keys()].find(
    (name) => /\.lora_[ab]$/.test(name) && !targets.includes(name.replace(/\.lora_[ab]$/, ''))
  )
  const misfit = targets.find((target, i) => !fits(base.tensors.get(target)!, pairs[i]!)) ?? stray
  if (misfit !== undefined)
    throw new AppError(
      'model',
      `${path}: its tensor ${misfit} does not fit ${base.path} (or is not F32)`,
      'Use the base it was trained on.'
    )
  const ranks = new Set(pairs.map(([a]) => a.ne[1]))
  const [r] = ranks
  if (r === undefined || ranks.size > 1)
    throw new AppError(
      'model',
      `${path}: ${r === undefined ? 'it holds no pair of tensors' : `its pairs have different ranks (${[...ranks].join(', ')})`}`,
      'An adapter of one rank is needed.'
    )
  return { info, targets, alpha: info.number('adapter.lora.alpha') ?? 0, r }
}

type Pair = readonly [a: GgufTensor, b: GgufTensor | undefined]

const pairOf = ({ tensors }: GgufInfo, target: string): Pair => [
  tensors.get(`${target}.lora_a`)!,
  tensors.get(`${target}.lora_b`)
]

/** A is [in, r] and B [r, out] of a weight [in, out]. */
const fits = ({ ne }: GgufTensor, [a, b]: Pair): boolean =>
  b !== undefined &&
  a.ne[0] === ne[0] &&
  b.ne[1] === ne[1] &&
  a.ne[1] === b.ne[0] &&
  a.type === TYPE.F32 &&
  b.type === TYPE.F32
