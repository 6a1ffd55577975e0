/**
 * Derivatives by central differences, against which hand-written backwards are held.
 *
 * Five-point stencil (8·[f(h) − f(−h)] − [f(2h) − f(−2h)]) / 12h: its own error is h⁴·f⁽⁵⁾/30. The engine computes in F32,
 * so f carries rounding noise of some 1e-7·|f|, which the stencil divides by h. With h = 0.02 and values of order one the
 * first is below 1e-8·f⁽⁵⁾ and the second about 1e-5; measured errors, over the largest element of each gradient, are
 * 7e-7 to 4.3e-5. The bound of 4e-4 is ten times the largest of them and still catches a wrong sign, a lost term or factor.
 */
import { expect } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { readF32, write } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'

const STEP = 0.02
const BOUND = 4e-4
/** Single coordinates tried per tensor; a random direction covers all the others at once. */
const COORDINATES = 16

export type Differentiated = { readonly name: string; readonly value: Tensor; readonly gradient: Float32Array }

const stencil = (f: (offset: number) => number, step: number): number =>
  (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)

/**
 * Compares each gradient with the differences of `loss`, which runs the forward with what is in the tensors and returns a
 * number made in double precision. Returns the largest error over each gradient's largest element, and fails above BOUND.
 * A function that bends more (norms behind norms) needs a smaller step: half of it makes the stencil's own error a sixteenth
 * and doubles that of rounding.
 */
export function expectGradients(
  backend: Backend,
  loss: () => number,
  checked: readonly Differentiated[],
  step = STEP
): number {
  let worst = 0
  for (const { name, value, gradient } of checked) {
    const random = seeded('differences', name)
    const start = readF32(backend, value)
    const at = (direction: Float32Array) => (offset: number) => {
      write(
        backend,
        value,
        start.map((x, i) => x + offset * direction[i]!)
      )
      return loss()
    }
    const scale = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0)
    expect(scale, `${name} has a gradient`).toBeGreaterThan(0)
    const picked = random.shuffle([...gradient.keys()]).slice(0, COORDINATES)
    for (const i of picked) {
      const direction = new Float32Array(start.length)
      direction[i] = 1
      const error = Math.abs(stencil(at(direction), step) - gradient[i]!) / scale
      expect(error, `${name}[${i}]`).toBeLessThan(BOUND)
      worst = Math.max(worst, error)
    }
    // unit length, so that the step is as small as for one coordinate
    const raw = gradient.map((g) => Math.sign(g) * (0.5 + random.next()))
    const length = Math.hypot(...raw)
    const direction = raw.map((x) => x / length)
    const expected = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0)
    const error = Math.abs(stencil(at(direction), step) - expected) / expected
    expect(error, `${name} along a direction`).toBeLessThan(BOUND)
    worst = Math.max(worst, error)
    write(backend, value, start)
  }
  return worst
}
