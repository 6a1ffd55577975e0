#!/usr/bin/env node
// Runs the command line on a Node that reads TypeScript: this one if it does, else the one of the `node` package.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const OLDEST = 24
const entry = fileURLToPath(new URL('../src/main/cli.ts', import.meta.url))

if (Number(process.versions.node.split('.')[0]) >= OLDEST) {
  process.argv.splice(1, 1, entry)
  await import(entry)
} else {
  const node = createRequire(import.meta.url).resolve('node/bin/node')
  const child = spawn(node, [entry, ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  process.on('SIGINT', () => undefined) // the terminal sends Ctrl-C to both; the child decides
  child.on('exit', (code, signal) => (signal ? process.kill(process.pid, signal) : process.exit(code ?? 1)))
}
