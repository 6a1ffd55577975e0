/** The frame of a run: what it counts from one start to the next. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { openRun } from '../../../src/main/training/run.ts'
import type { Run } from '../../../src/main/training/run.ts'

const folder = mkdtempSync(join(tmpdir(), 'run-'))
afterAll(() => rmSync(folder, { recursive: true }))
const files = () => new Map([['state.json', '{}']])

/** A start of the run in a folder of that name, which may be cancelled. */
function start(name: string): { run: Run; cancel: () => void } {
  const stop = new AbortController()
  const recipe = { output_dir: name, save_minutes: 1000, save_steps: 1 }
  const run = openRun({ recipe, folder: join(folder, name), resume: true, emit: () => undefined, signal: stop.signal })
  return { run, cancel: () => stop.abort() }
}

/** One step as recipes make it. */
function step(run: Run, at: number, applied: boolean): void {
  run.stepped(at, { loss: 1 }, applied)
  run.afterStep(at, { loss: 1 }, files)
}

describe('steps that are not finite', () => {
  test('three on end stop the run', () => {
    const { run } = start('one-go')
    step(run, 1, true)
    step(run, 2, false)
    step(run, 3, false)
    expect(() => step(run, 4, false)).toThrow(/3 steps in a row/)
    run.close()
  })

  test('are counted on when the run was stopped between them', () => {
    const first = start('stopped')
    step(first.run, 1, true)
    step(first.run, 2, false)
    first.cancel()
    expect(() => step(first.run, 3, false)).toThrow(expect.objectContaining({ code: 'cancelled' }) as Error)
    first.run.close()
    const second = start('stopped')
    expect(second.run.checkpoint?.manifest).toMatchObject({ step: 3, nonFinite: 2 })
    expect(() => step(second.run, 4, false)).toThrow(/3 steps in a row/)
    second.run.close()
  })

  test('start again from none after one that is', () => {
    const first = start('mended')
    step(first.run, 1, false)
    step(first.run, 2, false)
    step(first.run, 3, true)
    first.run.close()
    const second = start('mended')
    expect(second.run.checkpoint?.manifest.nonFinite).toBeUndefined()
    step(second.run, 4, false)
    step(second.run, 5, false)
    expect(() => step(second.run, 6, false)).toThrow(/3 steps in a row/)
    second.run.close()
  })
})
