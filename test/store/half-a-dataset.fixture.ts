/** A host that dies while it makes a dataset: `rows` between two rows, until killed; `placed` with the file in its place. */
import { writeDataset } from '../../src/main/data/datasets/write.ts'
import { openHost } from '../../src/main/ipc/host.ts'

const [workspace, when] = process.argv.slice(2)
const host = openHost({ workspace: workspace!, workerPath: '', version: '0', desktop: false })
const { datasets } = host.store
const die = (): never => {
  process.kill(process.pid, 'SIGKILL')
  throw new Error('still alive')
}

async function* bodies(): AsyncGenerator<Record<string, unknown>> {
  for (let i = 0; i < 2000; i++) yield { prompt: `p${i}`, answer: 'a' }
  if (when === 'placed') return
  process.stdout.write('written')
  await new Promise((done) => setTimeout(done, 60_000))
}

await writeDataset({
  store: when === 'placed' ? { ...datasets, atOnce: die } : datasets,
  folder: host.at('datasets'),
  name: 'mine',
  use: 'tasks',
  format: 'rows',
  origin: 'a test',
  nothing: () => 'nothing',
  bodies: bodies()
})
