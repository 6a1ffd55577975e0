/** A backend that runs out of memory at a chosen moment, so that what fails can be seen to leave nothing behind. */
import type { Backend } from '../../src/main/engine/backend.ts'

const REFUSALS = { backend_alloc_ctx_tensors_from_buft: null, gallocr_reserve: false, gallocr_alloc_graph: false }

/** The same device; after `allow(n)` it makes n more allocations and refuses all that follow. */
export function rationed(backend: Backend): { backend: Backend; allow: (n: number) => void } {
  let left = Infinity
  const refusing = new Map<PropertyKey, (...args: unknown[]) => unknown>()
  for (const [name, refusal] of Object.entries(REFUSALS)) {
    const real = Reflect.get(backend.native.ggml, name) as unknown as (...args: unknown[]) => unknown
    refusing.set(name, (...args) => (left-- > 0 ? real(...args) : refusal))
  }
  const ggml = new Proxy(backend.native.ggml, {
    get: (target, name) => refusing.get(name) ?? (Reflect.get(target, name) as unknown)
  })
  return { backend: { ...backend, native: { ...backend.native, ggml } }, allow: (n) => void (left = n) }
}
