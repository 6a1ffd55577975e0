/**
 * Adapters in PEFT's format: a folder with `adapter_config.json` and `adapter_model.safetensors`, in both directions.
 *
 * Names are those of Transformers' modules. A has the same memory in both worlds. Of B, the rows of q and k differ where the
 * rotation pairs neighbours: llama.cpp's converter interleaves the two halves of each head, Transformers keeps them apart.
 * Fused matrices (`qkv_proj`, `gate_up_proj`) have the same rows in both. Names begin with `model.layers`, as in a text model:
 * where Transformers loads Gemma 3 with its image part they begin with `model.language_model.layers`, and PEFT needs them
 * renamed.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { TargetModule } from '../../shared/recipe.ts'
import { modulesOf } from './arch/targets.ts'
import type { Adapter } from './adapter.ts'
import type { Model } from './model.ts'
import { readSafetensors, writeSafetensors } from './safetensors.ts'
import { readF32 } from './tensor.ts'

const CONFIG = 'adapter_config.json'
const TENSORS = 'adapter_model.safetensors'

/** Where a layer of Transformers keeps each projection. */
const MODULES: Readonly<Record<TargetModule, string>> = {
  q_proj: 'self_attn.q_proj',
  k_proj: 'self_attn.k_proj',
  v_proj: 'self_attn.v_proj',
  qkv_proj: 'self_attn.qkv_proj',
  o_proj: 'self_attn.o_proj',
  gate_proj: 'mlp.gate_proj',
  up_proj: 'mlp.up_proj',
  gate_up_proj: 'mlp.gate_up_proj',
  down_proj: 'mlp.down_proj'
}
const ROTATED: ReadonlySet<TargetModule> = new Set(['q_proj', 'k_proj'])
const ROPE_OF_NEIGHBOURS = 0

/** One matrix as safetensors hold it: row-major. */
export type PeftTensor = { readonly shape: readonly [number, number]; readonly data: Float32Array }

/** An adapter's numbers in GGUF's row order; `alpha` as llama.cpp takes it, which divides by the rank. */
export type LoraValues = {
  readonly r: number
  readonly alpha: number
  readonly pairs: readonly { readonly target: string; readonly a: Float32Array; readonly b: Float32Array }[]
}

/** What reading needs of a base: nothing that is loaded. */
export type PeftBase = Pick<Model, 'architecture' | 'config' | 'info'>

/** The GGUF names of a model's projections and where Transformers keeps them. */
function placesOf(
  model: Pick<Model, 'architecture' | 'config'>
): { target: string; module: TargetModule; path: string }[] {
  const { architecture, config } = model
  return Array.from({ length: config.layers }, (_, layer) =>
    modulesOf(architecture).map((module) => ({
      target: `blk.${layer}.${architecture.linears[architecture.targets[module]!]}`,
      module,
      path: `model.layers.${layer}.${MODULES[module]}`
    }))
  ).flat()
}

/** Moves the rows of B between the two orders of a head: halves one after another, or interleaved. */
function reorderRows(b: Float32Array, r: number, headDim: number, into: 'halves' | 'interleaved'): Float32Array {
  const out = new Float32Array(b.length)
  const half = headDim / 2
  for (let row = 0; row < b.length / r; row++) {
    const inHead = row % headDim // of the order with halves
    const interleaved = row - inHead + (inHead % half) * 2 + Math.floor(inHead / half)
    const [from, to] = into === 'halves' ? [interleaved, row] : [row, interleaved]
    out.set(b.subarray(from * r, (from + 1) * r), to * r)
  }
  return out
}

const isReordered = (model: Pick<Model, 'config'>, module: TargetModule): boolean =>
  ROTATED.has(module) && model.config.rope.mode === ROPE_OF_NEIGHBOURS

/** An adapter's matrices by PEFT's names, A [r, in] and B [out, r]. */
export function peftTensors(adapter: Adapter): Map<string, PeftTensor> {
  const { model, r } = adapter
  const places = new Map(placesOf(model).map((place) => [place.target, place]))
  const tensors = new Map<string, PeftTensor>()
  for (const { target, a, b } of adapter.pairs) {
    const place = places.get(target)
    if (!place) throw new AppError('export', `${target} has no name in Transformers, so PEFT cannot hold its adapter`)
    const rows = readF32(model.backend, b)
    const data = isReordered(model, place.module) ? reorderRows(rows, r, model.config.headDim, 'halves') : rows
    const name = `base_model.model.${place.path}`
    tensors.set(`${name}.lora_A.weight`, { shape: [r, a.ne[0]], data: readF32(model.backend, a) })
    tensors.set(`${name}.lora_B.weight`, { shape: [b.ne[1], r], data })
  }
  return tensors
}

/** PEFT's LoraConfig, with the keys that every version of the last years knows. */
export function peftConfig(adapter: Adapter, baseName: string): Record<string, unknown> {
  const targets = new Set(adapter.pairs.map(({ target }) => target))
  const places = placesOf(adapter.model).filter(({ target }) => targets.has(target))
  const modules = [...new Set(places.map(({ module }) => module))].sort()
  const everyLayer = places.length === modules.length * adapter.model.config.layers
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseName,
    revision: null,
    inference_mode: true,
    r: adapter.r,
    lora_alpha: Number((adapter.scale * adapter.r).toPrecision(7)), // an F32 in the GGUF
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: true,
    // PEFT matches the ends of module names
    target_modules: everyLayer ? modules : places.map(({ path }) => path),
    layers_to_transform: null,
    layers_pattern: null,
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
    use_rslora: false, // its scale is in lora_alpha
    use_dora: false
  }
}

/** Writes an adapter into an existing folder. Throws AppError('disk'). */
export function writePeft(adapter: Adapter, folder: string, baseName: string): void {
  writeSafetensors(join(folder, TENSORS), peftTensors(adapter), { format: 'pt' })
  const path = join(folder, CONFIG)
  try {
    writeFileSync(path, JSON.stringify(peftConfig(adapter, baseName), null, 2) + '\n', { flush: true })
  } catch (cause) {
    throw new AppError('disk', `${path} could not be written`, 'Check that the disk has room.', { cause })
  }
}

export const isPeftFolder = (path: string): boolean => existsSync(join(path, CONFIG))

/** The files an adapter consists of, whichever kind it is. */
export const adapterFiles = (path: string): string[] =>
  isPeftFolder(path) ? [CONFIG, TENSORS].map((name) => join(path, name)).filter(existsSync) : [path]

const refusing =
  (folder: string) =>
  (why: string): never => {
    throw new AppError(
      'model',
      `${folder}: ${why}`,
      'Plain LoRA of one rank on attention and feed-forward projections can be loaded.'
    )
  }

/** Reads a PEFT adapter for this base. Throws AppError('model') saying what is not plain LoRA on the base's projections. */
export function readPeft(model: PeftBase, folder: string): LoraValues {
  const refuse = refusing(folder)
  const { r, alpha } = readConfig(folder, refuse)
  if (!existsSync(join(folder, TENSORS))) refuse(`there is no ${TENSORS} beside ${CONFIG}`)
  const tensors = readSafetensors(join(folder, TENSORS))
  const unread = new Set(tensors.keys())
  const take = (path: string, half: 'A' | 'B', shape: readonly [number, number]): Float32Array | null => {
    const name = [...unread].find((it) => endsAs(it, path, half))
    if (name === undefined) return null
    unread.delete(name)
    const { shape: given, data } = tensors.get(name)!
    if (given.length !== 2 || given[0] !== shape[0] || given[1] !== shape[1] || !(data instanceof Float32Array)) {
      return refuse(`${name} is [${given.join(', ')}], this base needs [${shape.join(', ')}]`)
    }
    return data
  }
  const pairs = placesOf(model).flatMap(({ target, module, path }) => {
    const [input, output] = model.info.tensors.get(target)!.ne // every base has them: `architectureOf` looks
    const a = take(path, 'A', [r, input])
    const b = take(path, 'B', [output, r])
    if (!a && !b) return []
    if (!a || !b) return refuse(`${path} has only one of lora_A and lora_B`)
    return [{ target, a, b: isReordered(model, module) ? reorderRows(b, r, model.config.headDim, 'interleaved') : b }]
  })
  const stray = [...unread][0]
  if (stray !== undefined) refuse(`its tensor ${stray} has no place in ${model.info.path}`)
  if (pairs.length === 0) refuse(`${TENSORS} holds no adapter`)
  return { r, alpha, pairs }
}

/** `base_model.model.` and the like before the path, an adapter's name after lora_A: both vary with who saved it. */
function endsAs(name: string, path: string, half: 'A' | 'B'): boolean {
  const [before, after] = name.split(`.lora_${half}.`)
  return after !== undefined && (after === 'weight' || /^\w+\.weight$/.test(after)) && `.${before}`.endsWith(`.${path}`)
}

/** The rank of a folder's adapter. Throws AppError('model') as `readPeft` does. */
export const peftRank = (folder: string): number => readConfig(folder, refusing(folder)).r

function readConfig(folder: string, refuse: (why: string) => never): { r: number; alpha: number } {
  let config: Record<string, unknown>
  try {
    config = JSON.parse(readFileSync(join(folder, CONFIG), 'utf8')) as Record<string, unknown>
  } catch {
    return refuse(`${CONFIG} is not JSON`)
  }
  const filled = (key: string): boolean => {
    const value = config[key]
    return Boolean(value) && (typeof value !== 'object' || Object.keys(value as object).length > 0)
  }
  if (config['peft_type'] !== 'LORA') refuse(`its peft_type is ${JSON.stringify(config['peft_type'])}`)
  if (config['bias'] !== undefined && config['bias'] !== 'none') refuse('it trains biases')
  const odd = [
    'use_dora',
    'rank_pattern',
    'alpha_pattern',
    'modules_to_save',
    'fan_in_fan_out',
    'layer_replication',
    'lora_bias'
  ].find(filled)
  if (odd !== undefined) refuse(`${odd} is set`)
  const { r, lora_alpha: alpha } = config
  if (typeof r !== 'number' || typeof alpha !== 'number') return refuse(`${CONFIG} lacks r or lora_alpha`)
  return { r, alpha: config['use_rslora'] === true ? alpha * Math.sqrt(r) : alpha }
}
