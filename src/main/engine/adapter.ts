/**
 * A LoRA adapter. Its A and B *are* the tensors that `llama_decode` samples with: an optimizer step on them changes the
 * policy, without a copy or a reload. Where llama.cpp's tensors cannot be reached, `publish` writes and loads them again.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import type { LoraSettings } from '../../shared/recipe.ts'
import { readAdapterHeader } from './adapter-header.ts'
import { targetModules } from './arch/targets.ts'
import { readPointers } from './ffi/libraries.ts'
import { Held, Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import { writeGguf } from './gguf-writer.ts'
import type { Model } from './model.ts'
import { isPeftFolder, readPeft } from './peft.ts'
import type { LoraValues, PeftBase } from './peft.ts'
import { contiguousStrides, elements, readF32, shape, TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

export type AdapterPair = { readonly target: string; readonly a: Tensor; readonly b: Tensor }

export type Adapter = {
  readonly model: Model
  readonly r: number
  /** What y = W·h + scale·B·A·h uses: lora_alpha / r, or lora_alpha / sqrt(r) with rsLoRA. */
  readonly scale: number
  /** In the order of layers, then of the architecture's linears. `target` is the GGUF name of the weight. */
  readonly pairs: readonly AdapterPair[]
  /** The `llama_adapter_lora` as the sampler uses it now. */
  readonly handle: Pointer
  /** Makes the sampler use the present values. Free where tensors are shared. */
  publish(): void
  save(path: string): void
  dispose(): void
}

/**
 * A fresh adapter: A uniform in ±1/√in as PEFT initialises it, seeded; B zero. Throws AppError('recipe') when this base has
 * not all of the target modules.
 */
export async function createAdapter(model: Model, settings: LoraSettings, seed: number): Promise<Adapter> {
  const { architecture, config, backend } = model
  const targets = targetModules(architecture, settings.target_modules)
  const roles = Object.keys(architecture.linears).filter((role) =>
    targets.some((target) => architecture.targets[target] === role)
  )
  const pool = new TensorPool(backend, config.layers * roles.length * 2 + 1)
  const made: AdapterPair[] = []
  try {
    for (let layer = 0; layer < config.layers; layer++) {
      for (const role of roles) {
        const target = `blk.${layer}.${architecture.linears[role]}`
        const [input, output] = model.weight(target).ne
        made.push({ target, a: pool.add(TYPE.F32, input, settings.r), b: pool.add(TYPE.F32, settings.r, output) })
      }
    }
    pool.allocate()
    for (const { target, a } of made) {
      const random = seeded(seed, 'lora_a', target)
      const bound = 1 / Math.sqrt(a.ne[0])
      const values = Float32Array.from({ length: elements(a) }, () => (2 * random.next() - 1) * bound)
      write(backend, a, values)
    }
    const alpha = settings.use_rslora ? settings.lora_alpha * Math.sqrt(settings.r) : settings.lora_alpha
    return await throughFile(model, made, alpha)
  } finally {
    pool.dispose()
  }
}

/** What llama.cpp loads is a file: writes these tensors to a temporary one and loads it. */
async function throughFile(model: Model, pairs: readonly AdapterPair[], alpha: number): Promise<Adapter> {
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-'))
  try {
    const path = join(folder, 'adapter.gguf')
    writeAdapter(model, path, pairs, alpha)
    return await loadGgufAdapter(model, path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function loadPeftAdapter(model: Model, { r, alpha, pairs }: LoraValues): Promise<Adapter> {
  const pool = new TensorPool(model.backend, pairs.length * 2 + 1)
  try {
    const made = pairs.map(({ target, a, b }) => ({
      target,
      a: pool.add(TYPE.F32, a.length / r, r),
      b: pool.add(TYPE.F32, r, b.length / r)
    }))
    pool.allocate()
    made.forEach((pair, i) => {
      write(model.backend, pair.a, pairs[i]!.a)
      write(model.backend, pair.b, pairs[i]!.b)
    })
    return await throughFile(model, made, alpha)
  } finally {
    pool.dispose()
  }
}

/** llama.cpp scales by alpha / r, so rsLoRA is stored as alpha · √r. */
function writeAdapter(model: Model, path: string, pairs: readonly AdapterPair[], alpha: number): void {
  writeGguf(model.backend, path, {
    values: {
      'general.type': { kind: 'text', value: 'adapter' },
      'general.architecture': { kind: 'text', value: model.config.architecture },
      'adapter.type': { kind: 'text', value: 'lora' },
      'adapter.lora.alpha': { kind: 'f32', value: alpha }
    },
    tensors: pairs.flatMap(({ target, a, b }) => [
      { name: `${target}.lora_a`, tensor: a },
      { name: `${target}.lora_b`, tensor: b }
    ])
  })
}

/** Loads a GGUF adapter or a folder of PEFT's. Throws AppError('model') when it does not belong to this base. */
export async function loadAdapter(model: Model, path: string): Promise<Adapter> {
  return isPeftFolder(path) ? loadPeftAdapter(model, readPeft(model, path)) : loadGgufAdapter(model, path)
}

/** Throws as `loadAdapter` where an adapter does not belong to this base, of which it needs the header only. */
export async function requireFitting(base: PeftBase, path: string): Promise<void> {
  if (isPeftFolder(path)) readPeft(base, path)
  else await readAdapterHeader(base.info, path)
}

async function loadGgufAdapter(model: Model, path: string): Promise<Adapter> {
  const held = new Held()
  try {
    return await openGgufAdapter(held, model, path)
  } catch (error) {
    held.dispose()
    throw error
  }
}

async function openGgufAdapter(held: Held, model: Model, path: string): Promise<Adapter> {
  const { backend } = model
  const { llama, internal } = backend.native
  const { info, targets, alpha, r } = await readAdapterHeader(model.info, path)
  const load = (from: string): Owned<Pointer> => {
    const handle = llama.adapter_lora_init(model.handle, from)
    if (handle === null) throw new AppError('model', `${from}: llama.cpp could not load this adapter`)
    return new Owned('adapter', handle, (it) => llama.adapter_lora_free(it))
  }
  let owned = held.own(load(path))
  const pool = internal ? null : held.own(new TensorPool(backend, targets.length * 2 + 1))
  const own = (name: string): Tensor => pool!.add(TYPE.F32, ...info.tensors.get(name)!.ne)
  const shared = (name: string, ptr: Pointer): Tensor => {
    const ne = shape(...info.tensors.get(name)!.ne)
    return { ptr, type: TYPE.F32, ne, nb: contiguousStrides(backend.native, TYPE.F32, ne) }
  }
  const pairs = targets.map((target): AdapterPair => {
    if (!internal) return { target, a: own(`${target}.lora_a`), b: own(`${target}.lora_b`) }
    const weight = internal.adapter_get_weight(owned.handle, model.weight(target).ptr)
    if (weight === null) throw new AppError('model', `${path}: llama.cpp holds no pair for ${target}`)
    const [a, b] = readPointers(weight, 2)
    return { target, a: shared(`${target}.lora_a`, a!), b: shared(`${target}.lora_b`, b!) }
  })
  if (pool) {
    pool.allocate()
    const { readFileSync } = await import('node:fs')
    const bytes = readFileSync(path)
    for (const { target, a, b } of pairs) {
      for (const [suffix, tensor] of [
        ['lora_a', a],
        ['lora_b', b]
      ] as const) {
        // prettier-ignore
        const { offset } = info.tensors.get(`${target}.${suffix}`)!
        write(backend, tensor, bytes.subarray(offset, offset + elements(tensor) * 4))
      }
    }
  }
  return {
    model,
    r,
    scale: alpha === 0 ? 1 : alpha / r, // as llama.cpp's llama_adapter_lora_weight::get_scale
    pairs,
    get handle() {
      return owned.handle
    },
    publish: () => {
      if (internal) return
      const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-'))
      try {
        writeAdapter(model, join(folder, 'adapter.gguf'), pairs, alpha)
        owned.dispose()
        owned = load(join(folder, 'adapter.gguf'))
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    },
    save: (to) => writeAdapter(model, to, pairs, alpha),
    dispose: () => {
      owned.dispose()
      pool?.dispose()
    }
  }
}

/** All parameters as one array, in the order of `pairs`, A before B: what checkpoints and tests compare. */
export function dumpAdapter(adapter: Adapter): Float32Array {
  const parts = adapter.pairs.flatMap(({ a, b }) => [
    readF32(adapter.model.backend, a),
    readF32(adapter.model.backend, b)
  ])
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
