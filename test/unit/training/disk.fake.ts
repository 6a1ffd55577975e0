import * as fs from 'node:fs'
import type { Disk } from '../../../src/main/training/disk.ts'

/** The real disk, except that its `nth` call (from 1) fails as a full one does; a write leaves half of its bytes. */
export function failingDisk(nth: number): { disk: Disk; calls(): number } {
  let calls = 0
  const full = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  const guarded =
    (name: keyof Disk): unknown =>
    (...args: unknown[]): unknown => {
      if (++calls === nth && name !== 'closeSync') {
        if (name === 'writeSync')
          fs.writeSync(args[0] as number, (args[1] as Buffer).subarray(0, (args[1] as Buffer).length / 2))
        throw full()
      }
      return (fs[name] as (...a: unknown[]) => unknown)(...args)
    }
  const names = [
    'mkdirSync',
    'openSync',
    'writeSync',
    'fsyncSync',
    'closeSync',
    'renameSync',
    'rmSync',
    'ftruncateSync'
  ] as const
  return { disk: Object.fromEntries(names.map((name) => [name, guarded(name)])) as unknown as Disk, calls: () => calls }
}
