/** What a run is told about its device, and what is refused. A machine with a GPU is not assumed, nor one without. */
import { expect, test } from 'vitest'
import type { AppError } from '../../src/shared/errors.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import type { Device } from '../../src/shared/recipe.ts'
import { hasNvidia } from '../../src/main/engine/device.ts'
import { openDevice } from '../../src/main/engine/open-device.ts'
import { owner } from './owner.ts'

const own = owner()

async function open(device: Device): Promise<{ isCpu: boolean; said: RunEvent[] }> {
  const said: RunEvent[] = []
  const { isCpu } = own(await openDevice({ device, threads: 1, emit: (event) => void said.push(event) }))
  return { isCpu, said }
}

test('the CPU, when it is asked for', async () => {
  const { isCpu, said } = await open('cpu')
  expect(isCpu).toBe(true)
  expect(said).toEqual([{ kind: 'log', level: 'info', text: 'device: CPU, 1 thread' }])
})

test('auto says what it took and why', async () => {
  const { said } = await open('auto')
  expect(said).toEqual([
    expect.objectContaining({ kind: 'log', text: expect.stringMatching(/^device: .+: .+/) as string })
  ])
})

test.skipIf(hasNvidia())('CUDA on a machine without it is refused with what to install and the fallback', async () => {
  const refused = await open('cuda').catch((error: unknown) => error as AppError)
  expect(refused).toMatchObject({
    name: 'AppError',
    code: 'device',
    message: expect.stringMatching(/^cuda cannot be used: .+/) as string,
    hint: expect.stringMatching(/Install .+ Or set device: cpu/) as string
  })
})

test.skipIf(process.platform === 'darwin')('Metal outside of macOS is refused', async () => {
  const refused = await open('metal').catch((error: unknown) => error as AppError)
  expect(refused).toMatchObject({ code: 'device', message: expect.stringContaining('metal') as string })
})
