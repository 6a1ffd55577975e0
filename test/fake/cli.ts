/** The command line with the scripted worker in place of the real one. */
import { fileURLToPath } from 'node:url'
import { runCommandLine } from '../../src/main/commands/program.ts'

process.exitCode = await runCommandLine(process.argv.slice(2), {
  workerPath: fileURLToPath(new URL('./worker.ts', import.meta.url)),
  version: '0.0.0',
  streams: { out: process.stdout, err: process.stderr }
})
