/** A crash in words: how the process ended, where it was, and what it printed last. */
import type { Crash } from './supervisor.ts'

/** Lines of a crashed worker's output that are shown. */
const SHOWN_LINES = 12

export function crashReport({ how, phase, output }: Crash): string {
  const said = worthShowing(output)
  const head = `the worker process ended by ${how} in phase "${phase}"`
  return said.length === 0 ? head : `${head}; its last lines were:\n${said.map((line) => `  ${line}`).join('\n')}`
}

/** ggml prints the failed assertion first and a long backtrace after it: what matters is the assertion. */
function worthShowing(output: readonly string[]): readonly string[] {
  const assertion = output.findIndex((line) => /GGML_ASSERT|GGML_ABORT|fatal error/i.test(line))
  return assertion === -1 ? output.slice(-SHOWN_LINES) : output.slice(Math.max(0, assertion - 2), assertion + 3)
}
