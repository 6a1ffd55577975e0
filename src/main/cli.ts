/** The headless entry: `node src/main/cli.ts …`, or `reasonsmith …`. Wires, nothing else. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runCommandLine } from './commands/program.ts'

const fromSource = import.meta.url.endsWith('.ts')
const workerPath = fileURLToPath(new URL(fromSource ? './worker.ts' : './worker.js', import.meta.url))
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

// Whoever reads may leave early (`| head`, a closed terminal): the run goes on, its record is in its folder.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

process.exitCode = await runCommandLine(process.argv.slice(2), {
  workerPath,
  version,
  streams: { out: process.stdout, err: process.stderr }
})
