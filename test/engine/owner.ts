/** Native objects of a test: disposed of when it ends, and counted, so that what the engine forgets to free fails the test. */
import { afterEach, expect } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { ownedCounts } from '../../src/main/engine/ffi/owned.ts'
import { testedGpu } from '../device/test-device.ts'

export type Owner = {
  /** Takes what a test made; it is disposed of after the test, last made first. */
  <T extends { dispose(): void }>(made: T): T
  /**
   * A CPU of one thread: results do not depend on how work is split, and ggml's threads never wait on each other. In the
   * projects `vulkan` and `gpu` it is that device.
   */
  backend(): Backend
}

/** Call once at the head of a test file. */
export function owner(): Owner {
  let held: { dispose(): void }[] = []
  afterEach(() => {
    for (const it of held.reverse()) it.dispose()
    held = []
    expect(ownedCounts(), 'native objects left after the test').toEqual({})
  })
  const own = <T extends { dispose(): void }>(made: T): T => {
    held.push(made)
    return made
  }
  return Object.assign(own, { backend: () => own(openBackend({ gpu: testedGpu, threads: 1 })) })
}
