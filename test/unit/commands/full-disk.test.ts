/** Commands that write on a disk that takes nothing more: a limit of the system on the size of files stands in for one. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

const FAKE = join(import.meta.dirname, '../../fake/cli.ts')
const folder = mkdtempSync(join(tmpdir(), 'full-disk-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs the command line where no file may grow over `blocks` of 512 bytes. Node ignores the signal, so writes just fail. */
function limited(blocks: number, ...args: string[]): { code: number | null; err: string } {
  const shell = ['-c', `ulimit -f ${blocks}; exec "$0" "$@"`, process.execPath, FAKE, ...args]
  const { status, stderr } = spawnSync('sh', shell, {
    encoding: 'utf8',
    env: { ...process.env, NODE_COMPILE_CACHE: '' }
  })
  return { code: status, err: stderr }
}

describe.skipIf(process.platform === 'win32')('on a full disk', () => {
  test('traces leaves nothing and says so', () => {
    const tasks = join(folder, 'tasks.jsonl')
    const row = { question: 'What is 2+2?', answer: `Two and two. ${'So it is. '.repeat(200)}\n#### 4` }
    writeFileSync(tasks, JSON.stringify(row) + '\n')
    const out = join(folder, 'traces')
    mkdirSync(out)
    const { code, err } = limited(2, 'traces', tasks, '--to', join(out, 'traces.jsonl'))
    expect(err).toContain(`${join(out, 'traces.jsonl')} could not be written`)
    expect(code).toBe(7)
    expect(readdirSync(out)).toEqual([])
    expect(limited(100, 'traces', tasks, '--to', join(out, 'traces.jsonl')).code).toBe(0)
    expect(readdirSync(out)).toEqual(['traces.jsonl'])
  })

  test('init leaves none of its recipes', () => {
    const out = join(folder, 'recipes')
    const { code, err } = limited(8, 'init', out) // the recipe for evaluate fits, the one for grpo does not
    expect(err).toContain('could not be written')
    expect(code).toBe(7)
    expect(readdirSync(out)).toEqual([])
    expect(limited(100, 'init', out).code).toBe(0)
    expect(readdirSync(out).sort()).toEqual(['evaluate.yaml', 'grpo.yaml', 'sft.yaml'])
  })
})
