/**
 * Keeps the machine from sleeping while runs are at work, by the system's own tool: a host without a window has no other way.
 * The tool ends with the host, however that ends: its input closes, or it watches the host itself.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'

type Tool = { readonly command: string; readonly args: readonly string[] }

const TOOLS: { readonly [P in NodeJS.Platform]?: Tool } = {
  linux: {
    command: 'systemd-inhibit',
    args: ['--what=idle:sleep', '--who=Reasonsmith', '--why=runs are at work', '--mode=block', 'cat']
  },
  darwin: { command: 'caffeinate', args: ['-i', '-w', String(process.pid)] }
}

/** `log` hears once where it cannot be done: on systems without such a tool, and where the tool refuses. */
export function awakeWhile(log: (text: string) => void, platform = process.platform): (busy: boolean) => void {
  const tool = TOOLS[platform]
  let holding: ChildProcess | null = null
  let told = false
  const cannot = (why: string): void => {
    if (!told) log(`the machine may go to sleep while runs are at work: ${why}`)
    told = true
  }
  const hold = ({ command, args }: Tool): void => {
    const child = spawn(command, args, { stdio: ['pipe', 'ignore', 'ignore'] })
    holding = child
    child.stdin.on('error', () => undefined) // it may have ended before it read
    child.on('error', (error) => cannot(error.message))
    child.on('exit', (code) => {
      if (holding === child) cannot(`${command} ended with ${code}`)
    })
  }
  return (busy) => {
    if (busy && holding === null) {
      if (tool === undefined) cannot(`no way is known on ${platform}`)
      else hold(tool)
    } else if (!busy && holding !== null) {
      const child = holding
      holding = null
      child.stdin?.end()
      child.kill()
    }
  }
}
