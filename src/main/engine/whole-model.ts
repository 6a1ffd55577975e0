/**
 * A model of which every weight is trained, as a file: the base's own header and layout with the weights in memory in place
 * of its own, some megabytes at a time, since a whole model need not fit into memory twice.
 */
import { closeSync, openSync, statSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import { isRopeFactors } from './arch/architecture.ts'
import type { GgufInfo } from './gguf.ts'
import type { Model } from './model.ts'
import type { Parameters } from './parameters.ts'
import { readPieces, TYPE, writeFrom } from './tensor.ts'
import type { Tensor } from './tensor.ts'
import { readWhole } from '../files/whole-file.ts'

const PIECE_BYTES = 8 * 2 ** 20

/** Throws AppError('model') naming the first weight that is not F32: others cannot be changed by small steps. */
export function requireF32(info: GgufInfo, typeName: (type: number) => string): void {
  for (const [name, { type }] of info.tensors) {
    if (type === TYPE.F32 || isRopeFactors(name)) continue
    throw new AppError(
      'model',
      `${info.path}: ${name} is ${typeName(type)}, and finetuning_type: full trains F32 weights`,
      'Write the base in F32 with "reasonsmith prepare BASE --f32 --to BASE-f32.gguf", or train an adapter: finetuning_type: lora.'
    )
  }
}

/** Throws AppError where this base, or this platform, allows no training of every weight. Looks at the header only. */
export function requireTrainable({
  backend,
  info,
  sharesWeights
}: Pick<Model, 'backend' | 'info' | 'sharesWeights'>): void {
  requireF32(info, (type) => backend.native.ggml.type_name(type).toUpperCase())
  if ((info.number('split.count') ?? 1) > 1)
    throw new AppError(
      'model',
      `${info.path}: the model is split over several files`,
      'Join them with llama-gguf-split --merge.'
    )
  if (!sharesWeights)
    throw new AppError(
      'device',
      'every weight can be trained only on Linux and macOS: elsewhere llama.cpp does not show its tensors',
      'Train an adapter: finetuning_type: lora.'
    )
}

/** Each trained weight and where it lies in the file, in the file's order. */
function placed({ model, list }: Parameters): { value: Tensor; offset: number; bytes: number }[] {
  const { ggml } = model.backend.native
  return list
    .map(({ name, value }) => ({
      value,
      offset: model.info.tensors.get(name)!.offset,
      bytes: ggml.nbytes(value.ptr)
    }))
    .sort((a, b) => a.offset - b.offset)
}

/** Parameters of every weight with the file they came from, which stays open: what is written later needs its header. */
export class WholeModel {
  readonly #parameters: Parameters
  readonly #file: number

  constructor(parameters: Parameters) {
    this.#parameters = parameters
    this.#file = openSync(parameters.model.info.path, 'r')
  }

  /** The bytes of the GGUF with the present weights. Throws AppError('model') when the base was cut off meanwhile. */
  *pieces(): Generator<Uint8Array> {
    const { backend, info } = this.#parameters.model
    let at = 0
    for (const { value, offset, bytes } of placed(this.#parameters)) {
      yield* this.#stored(at, offset)
      yield* readPieces(backend, value, PIECE_BYTES)
      at = offset + bytes
    }
    yield* this.#stored(at, info.bytes)
  }

  /** The base's own bytes [from, to). */
  *#stored(from: number, to: number): Generator<Uint8Array> {
    for (let at = from; at < to; at += PIECE_BYTES) {
      const piece = new Uint8Array(Math.min(PIECE_BYTES, to - at))
      readWhole(this.#file, piece, at, this.#parameters.model.info.path)
      yield piece
    }
  }

  /** Takes the weights of a file that `pieces` of the same base made. Throws AppError('model') where it is another's. */
  restore(path: string): void {
    const { backend, info } = this.#parameters.model
    if (statSync(path).size !== info.bytes)
      throw new AppError(
        'model',
        `${path} is not a model of ${info.path}`,
        'The base changed since the run was started.'
      )
    const file = openSync(path, 'r')
    try {
      for (const { value, offset } of placed(this.#parameters))
        writeFrom(backend, value, file, offset, path, PIECE_BYTES)
    } finally {
      closeSync(file)
    }
    this.#parameters.publish()
  }

  dispose(): void {
    closeSync(this.#file)
  }
}
