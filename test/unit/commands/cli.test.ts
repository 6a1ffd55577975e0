import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { EXIT_CODES } from '../../../src/shared/errors.ts'
import { runCommandLine } from '../../../src/main/commands/program.ts'
import { tinyGgufHeader } from '../../fake/gguf-header.ts'

const SOURCE = join(import.meta.dirname, '../../../src/main/cli.ts')
const FAKE = join(import.meta.dirname, '../../fake/cli.ts')
const WORKER = join(import.meta.dirname, '../../fake/worker.ts')
const COMMANDS = [
  'doctor',
  'demo',
  'prepare',
  'sft',
  'grpo',
  'evaluate',
  'sample',
  'report',
  'export',
  'import',
  'resume',
  'traces',
  'init'
]

const folder = mkdtempSync(join(tmpdir(), 'cli-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

type Ended = { code: number | null; out: string; err: string }

/** A command line in this process. Paths in it are absolute: the tests share their working folder. */
async function inProcess(workerPath: string, args: readonly string[]): Promise<Ended> {
  let [out, err] = ['', '']
  const streams = { out: { write: (text: string) => (out += text) }, err: { write: (text: string) => (err += text) } }
  const code = await runCommandLine(args, { workerPath, version: '1.2.3', streams })
  return { code, out, err }
}
const cli = (...args: string[]): Promise<Ended> => inProcess('/nowhere.ts', args)
const sample = (script: string, ...args: string[]): Promise<Ended> =>
  inProcess(WORKER, ['sample', base, script, ...args])

/** A command line as a process of its own; `onErr` may answer what it says with a signal. */
function run(
  entry: string,
  args: readonly string[],
  onErr?: (text: string, signal: (name: NodeJS.Signals) => void) => void
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [entry, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.on('data', (chunk) => (out += String(chunk)))
    child.stderr.on('data', (chunk) => {
      err += String(chunk)
      onErr?.(err, (name) => child.kill(name))
    })
    child.on('close', (code) => resolve({ code, out, err }))
  })
}
const base = file('base.gguf', tinyGgufHeader(64))

test('as a process: the exit code is the command line’s', async () => {
  const { code, err } = await run(SOURCE, ['frobnicate'])
  expect({ code, err }).toEqual({
    code: 2,
    err: "error: unknown command 'frobnicate'\nreasonsmith --help lists the commands\n"
  })
})

describe('help', () => {
  test('names every command and every exit code', async () => {
    const { code, out } = await cli('--help')
    expect(code).toBe(0)
    for (const command of COMMANDS) expect(out).toContain(`  ${command} `)
    for (const exit of Object.values(EXIT_CODES)) expect(out).toMatch(new RegExp(`^ +${exit}  `, 'm'))
  })

  test.each(COMMANDS)('of %s has an example and the exit codes', async (command) => {
    const { code, out } = await cli(command, '--help')
    expect(code).toBe(0)
    expect(out).toContain(
      `Example:\n  reasonsmith ${command === 'sft' || command === 'grpo' || command === 'evaluate' ? 'init' : command}`
    )
    expect(out).toContain('--json')
    expect(out).toContain('Exit codes:')
  })
})

describe('usage', () => {
  test.each([
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['docter'], /Did you mean doctor/],
    [[], /^$/],
    [['sft'], /missing required argument 'recipe'/],
    [['doctor', '--bogus'], /unknown option '--bogus'/],
    [['doctor', '--threads', '0'], /whole number, 1 or more/],
    [['export', 'runs'], /--to <folder>.*not specified/],
    [['export', 'runs', '--to', 'x', '--quantize', 'q8_0,Q9'], /"Q9" is none of Q8_0, Q6_K/],
    [['export', 'runs', '--to', 'x', '--merge-type', 'Q8_0'], /Allowed choices are F16, BF16, F32/],
    [['import', 'peft', '--to', 'x.gguf'], /--base <gguf>.*not specified/],
    [['resume', 'nowhere'], /no such run: nowhere/],
    [['report', 'nowhere'], /no such run: nowhere/],
    [['sample', base, 'hello', '--temperature', '-1'], /sampling.temperature/]
  ])('%j is refused with exit code 2', async (args, said) => {
    const { code, err } = await cli(...args)
    expect(code).toBe(2)
    if (args.length > 0) expect(err).toMatch(said)
  })

  test('with --json an error is one line of JSON on stdout', async () => {
    const { code, out, err } = await cli('--json', 'frobnicate')
    expect({ code, err }).toEqual({ code: 2, err: '' })
    expect(JSON.parse(out)).toMatchObject({ kind: 'error', code: 'usage', exitCode: 2 })
  })
})

describe('recipes', () => {
  const sft = (lines: string): string =>
    file('sft.yaml', `kind: sft\nbase: base.gguf\noutput_dir: run\ntrain: train.jsonl\n${lines}`)
  file('train.jsonl', '{}\n')

  test('an unknown key is refused with its line, before anything is made', async () => {
    const { code, err } = await cli('sft', sft('\nlearning_rat: 1\n'))
    expect(code).toBe(EXIT_CODES.recipe)
    expect(err).toContain(`sft.yaml:6: learning_rat: 1: unknown key`)
    expect(existsSync(join(folder, 'run'))).toBe(false)
  })

  test('more tokens than the base’s context are refused', async () => {
    const { code, err } = await cli('sft', sft('max_length: 65\nmax_completion_length: 10\n'))
    expect(code).toBe(EXIT_CODES.recipe)
    expect(err).toContain('sft.yaml:5: max_length: 65: must be 64 or less, the context of the base')
  })

  test('the recipe of another command is refused', async () => {
    const { code, err } = await cli('grpo', sft(''))
    expect(code).toBe(EXIT_CODES.recipe)
    expect(err).toContain('sft.yaml:1: kind: "sft": must be grpo for this command')
  })

  test.each([
    ['foreign', 'PK\u0003\u0004 not a model at all', /does not begin with "GGUF"/],
    ['cut off', tinyGgufHeader(64).slice(0, 80), /is not a GGUF model/],
    ['empty', '', /is not a GGUF model/]
  ])('a base that is %s is refused as a model', async (name, content, said) => {
    file(`${name}.gguf`, content)
    const recipe = file('other.yaml', `kind: sft\nbase: ${name}.gguf\noutput_dir: run\ntrain: train.jsonl\n`)
    const { code, err } = await cli('sft', recipe)
    expect(code).toBe(EXIT_CODES.model)
    expect(err).toMatch(said)
    expect(existsSync(join(folder, 'run'))).toBe(false)
  })

  test('an output folder with work in it is refused, and says how to continue', async () => {
    mkdirSync(join(folder, 'run/checkpoint-3'), { recursive: true })
    file('run/recipe.yaml', 'kind: sft\n')
    const { code, err } = await cli('sft', sft('max_length: 60\nmax_completion_length: 10\n'))
    expect(code).toBe(EXIT_CODES.recipe)
    expect(err).toContain(`reasonsmith resume ${join(folder, 'run')}`)
    rmSync(join(folder, 'run'), { recursive: true })
  })

  test('a good recipe is kept complete in its folder, and resume reads it', async () => {
    const recipe = sft('max_length: 60\nmax_completion_length: 10\n')
    expect((await inProcess(WORKER, ['sft', recipe])).err).toContain('the scripted worker only samples')
    expect(readFileSync(join(folder, 'run/recipe.yaml'), 'utf8')).toContain(`base: ${base}`)
    expect((await inProcess(WORKER, ['resume', join(folder, 'run')])).err).toContain('the scripted worker only samples')
  })
})

test('a run that crashes says how to continue, and can be', async () => {
  const recipe = file(
    'grpo.yaml',
    'kind: grpo\nbase: base.gguf\noutput_dir: a run\nmax_prompt_length: 9\nmax_completion_length: 9\ntasks: [{family: chain}]\n'
  )
  const { code, err } = await inProcess(WORKER, ['grpo', recipe])
  expect(code).toBe(70)
  expect(err).toContain(`in phase "train"`)
  expect(err).toContain(`continue with: reasonsmith resume '${join(folder, 'a run')}'`)
  expect((await inProcess(WORKER, ['resume', join(folder, 'a run')])).err).toContain('SIGABRT')
})

test('init writes three recipes and never over others', async () => {
  const { code, out } = await cli('init', join(folder, 'fresh'))
  expect({ code, out }).toEqual({
    code: 0,
    out: ['sft', 'grpo', 'evaluate'].map((kind) => `wrote ${join(folder, 'fresh', kind)}.yaml\n`).join('')
  })
  expect(readdirSync(join(folder, 'fresh')).sort()).toEqual(['evaluate.yaml', 'grpo.yaml', 'sft.yaml'])
  const again = await cli('init', join(folder, 'fresh'))
  expect(again.code).toBe(EXIT_CODES.disk)
  expect(again.err).toContain('fresh/sft.yaml')
})

describe('a job', () => {
  test('shows its steps and prints its result', async () => {
    const { code, out, err } = await sample('done')
    expect({ code, out }).toEqual({ code: 0, out: 'all done\n' })
    expect(err).toBe('rollout\n     step      loss\n      1/2    0.5000\n')
  })

  test('streams text to stdout', async () => expect((await sample('text')).out).toBe('hm\n\n42\n'))

  test('gives JSON lines with --json', async () => {
    const { out, err } = await sample('done', '--json')
    expect(err).toBe('')
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string })
    expect(lines.map((line) => line.kind)).toEqual(['phase', 'step', 'progress', 'result'])
  })

  test('takes a PEFT folder as an adapter, and no other folder', async () => {
    const peft = join(folder, 'peft')
    mkdirSync(peft)
    const refused = await sample('done', '--adapter', peft)
    expect(refused).toMatchObject({ code: 5, err: expect.stringContaining('is a folder') as string })
    writeFileSync(join(peft, 'adapter_config.json'), '{}')
    expect((await sample('done', '--adapter', peft)).code).toBe(0)
    expect((await sample('done', '--adapter', join(folder, 'none'))).code).toBe(5)
  })

  test('that refuses is one sentence, a hint and its exit code', async () => {
    const { code, out, err } = await sample('refuse')
    expect({ code, out, err }).toEqual({ code: 4, out: '', err: 'train.jsonl:3: bad JSON\nmend the line\n' })
  })

  test('with a bug shows the stack and exits 70', async () => {
    const { code, err } = await sample('bug')
    expect(code).toBe(70)
    expect(err).toMatch(/^unexpected: TypeError: x is not a function\n +at /)
  })

  test('that crashes says where, with the assertion and no backtrace', async () => {
    const { code, err } = await sample('abort')
    expect(code).toBe(70)
    expect(err).toContain('ended by SIGABRT in phase "train"')
    expect(err).toContain('GGML_ASSERT(ne0 == 4) failed')
    expect(err).not.toContain('frame 4')
  })

  test('is stopped by Ctrl-C', async () => {
    let sent = false
    const { code, err } = await run(FAKE, ['sample', base, 'cancel'], (text, signal) => {
      if (!sent && text.includes('train')) signal('SIGINT')
      sent ||= text.includes('train')
    })
    expect(code).toBe(130)
    expect(err).toContain('stopping; Ctrl-C again ends it at once')
  })

  test('is ended by a second Ctrl-C when it does not listen', async () => {
    let sent = 0
    const { code } = await run(FAKE, ['sample', base, 'stuck'], (text, signal) => {
      if (sent === 0 && text.includes('native call')) {
        sent = 1
        setTimeout(() => signal('SIGINT'), 100)
      } else if (sent === 1 && text.includes('stopping')) {
        sent = 2
        signal('SIGINT')
      }
    })
    expect({ code, sent }).toEqual({ code: 130, sent: 2 })
  })
})
