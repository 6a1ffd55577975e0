/** What the last doctor run said of the machine. Its record may be of an earlier version: nothing in it is taken for granted. */
import type { Machine } from '../../shared/contract/app.ts'

type Bag = Readonly<Record<string, unknown>>
const bag = (value: unknown): Bag => (typeof value === 'object' && value !== null ? (value as Bag) : {})
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/** The device in the fields a page shows; null until doctor ran. */
export function deviceOf(doctor: unknown): Machine['device'] {
  if (typeof doctor !== 'object' || doctor === null) return null
  const { lines, device, description } = bag(doctor)
  return {
    name: typeof description === 'string' ? description : 'unknown',
    backend: typeof device === 'string' ? device : 'CPU',
    gemmGflops: gflopsOn(doctor, 'auto'),
    verdict: String(list(lines).at(-1) ?? '')
  }
}

/** GFLOP/s of matrix products on what a run with this `device` computes on; null where doctor has not measured it. */
export function gflopsOn(doctor: unknown, device: string): number | null {
  const { gemm, device: used, tried } = bag(doctor)
  const gpu = list(tried)
    .map(bag)
    .find((one) => (device === 'auto' ? one['refusal'] === null : one['gpu'] === device))
  const onCpu = device === 'cpu' || (device === 'auto' && (used === undefined || used === 'CPU'))
  const rates = onCpu ? Object.values(bag(gemm)).map(Number) : [Number(bag(gpu?.['report'])['rate'])]
  const known = rates.filter((rate) => Number.isFinite(rate) && rate > 0)
  return known.length > 0 ? Math.max(...known) : null
}
