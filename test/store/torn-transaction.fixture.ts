/** Keeps a hundred steps, then begins a batch of more, says so in the middle of it, and waits to be killed. */
import { writeSync } from 'node:fs'
import { openStore } from '../../src/main/data/store/index.ts'

const store = openStore(process.argv[2]!)
const row = store.runs.add({ id: 'a', kind: 'sft', name: 'kept', input: '{}', recipe: '', folder: '/', base: null, parent: null, created_at: 1 }) // prettier-ignore
const step = (i: number) => ({ at: i, event: { kind: 'step', step: i, of: 200, metrics: { loss: i - 1 } } }) as const
store.events.append(row.number, { events: Array.from({ length: 100 }, (_, i) => step(i + 1)), lines: [] })
store.opened.db.function('pause_here', () => {
  writeSync(1, 'in the middle\n')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
  return 1
})
store.opened.db.transaction(() => {
  for (let i = 101; i <= 150; i++) store.opened.db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)').run(row.number, i, i, 'step', i, '{}') // prettier-ignore
  store.opened.db.prepare('SELECT pause_here()').get()
})()
