/**
 * Our speed and memory beside PyTorch's on the same machine, model, tokens, rank and threads, in one run; prints, never fails.
 *
 *   npm run bench -- --only sft512,rollouts --bases Q4_1,BF16
 *   REASONSMITH_PYTHON=venv/bin/python npm run bench        (with a Python that has torch: see peer/common.py)
 *
 * The peer trains the same GGUF dequantised to f32 or bf16. Ours trains the file as it is, and copies of it in F16, BF16 and
 * F32 too, since which type is fastest depends on the processor. Each measurement runs in a process of its own.
 * On a machine that is busy with other work use `--threads 1 --clock processor`: it counts processor time, for both sides.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { PINNED } from '../../src/main/engine/ffi/libraries.ts'
import { FILE_TYPE } from '../engine/quantised.ts'
import type { FileType } from '../engine/quantised.ts'
import type { Measured, Work } from './measure.ts'

const HERE = import.meta.dirname
const MODEL = join(HERE, '../../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
const TIMEOUT_MS = 30 * 60_000

/** A line of the table: what we do, and the peer's script and options for the same. */
type Row = {
  readonly key: string
  readonly name: string
  readonly work: Work
  readonly repeats: number
  readonly peer: readonly [script: string, ...args: string[]]
}

const sft = (tokens: number, keep: 'all' | 'none' | null): Row => ({
  key: keep === null ? `sft${tokens}` : `sft${tokens}-${keep}`,
  name: `SFT, T=${tokens}${keep === null ? '' : `, activations ${keep === 'all' ? 'kept' : 'recomputed'}`}`,
  work: { work: 'sft', tokens, ...(keep && { keep }) },
  repeats: tokens > 1000 ? 3 : 5,
  peer: [
    'sft_peer.py',
    '--tokens',
    String(tokens),
    '--steps',
    tokens > 1000 ? '3' : '5',
    ...(keep === 'none' ? ['--checkpointing'] : [])
  ]
})
const rollouts = (sequences: number, adapter: boolean): Row => ({
  key: `rollouts${sequences === 32 ? '' : sequences}${adapter ? '-lora' : ''}`,
  name: `rollouts, ${sequences} sequences${adapter ? ', with adapter' : ''}`,
  work: { work: 'rollouts', sequences, prompt: 48, fresh: 64, adapter, plain: true },
  repeats: 3,
  peer: [
    'rollout_peer.py',
    '--sequences',
    String(sequences),
    '--prompt',
    '48',
    '--new',
    '64',
    '--repeats',
    '3',
    ...(adapter ? ['--adapter'] : [])
  ]
})
const ROWS: readonly Row[] = [
  sft(512, null),
  sft(2048, null),
  sft(2048, 'none'),
  rollouts(32, false),
  rollouts(128, false),
  rollouts(32, true),
  {
    key: 'grpo',
    name: 'GRPO step, 8 × 8 × 200 tokens',
    work: { work: 'grpo', prompts: 8, group: 8, prompt: 16, fresh: 200 },
    repeats: 1,
    peer: ['grpo_peer.py', '--prompts', '8', '--group', '8', '--new', '200', '--steps', '1']
  }
]

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: MODEL },
    python: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    only: { type: 'string', default: ROWS.map(({ key }) => key).join(',') },
    bases: { type: 'string', default: 'file,F16,BF16,F32' },
    peers: { type: 'string', default: 'bf16,f32' },
    clock: { type: 'string', default: 'wall' },
    new: { type: 'string' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  }
})

/** The last line of a child's output, as JSON; null with its complaint printed when there is none. */
async function lastLine<T>(program: string, args: readonly string[]): Promise<T | null> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: TIMEOUT_MS, maxBuffer: 1 << 26 })
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as T
  } catch (error) {
    const said = String((error as { stderr?: unknown }).stderr ?? error).trim()
    console.log(`  failed: ${said.split('\n').slice(-3).join(' | ')}`)
    return null
  }
}

type Base = { readonly name: string; readonly path: string }

/** The file itself and its copies in other types. */
function basesOf(backend: Backend, model: string, folder: string): Base[] {
  return options.bases.split(',').map((type) => {
    if (type === 'file')
      return { name: /\.([A-Z]+\d*(_\w+)?)\.gguf$/.exec(basename(model))?.[1] ?? 'file', path: model }
    const path = join(folder, `${type}.gguf`)
    const { llama } = backend.native
    const params = llama.model_quantize_default_params()
    params.ftype = FILE_TYPE[type as FileType]
    params.allow_requantize = true
    if (params.ftype === undefined || llama.model_quantize(model, path, params) !== 0)
      throw new Error(`the base could not be made ${type}`)
    return { name: type, path }
  })
}

/** `ofPlain`: our rate over that of the libraries' plain batched decode without sampling, where the row has one. */
type Cell = { readonly rate: number; readonly peakMib: number; readonly ofPlain?: number }
type Line = { readonly name: string; readonly ours: Map<string, Cell>; readonly peers: Map<string, Cell> }
/** What the peer's scripts print, as far as it is read here. */
type Peer = {
  readonly peak_rss_mb: number
  readonly settings: Readonly<Record<string, number>>
  readonly total_ms?: number // sft
  readonly cpu_ms?: number
  readonly seconds?: number // rollouts
  readonly cpu_seconds?: number
  readonly step_seconds?: number // grpo
  readonly cpu_seconds_per_step?: number
}

const threads = Number(options.threads)
const byProcessor = options.clock === 'processor'

const tokensOf = (work: Work): number =>
  work.work === 'sft'
    ? work.tokens
    : work.work === 'rollouts'
      ? work.sequences * work.fresh
      : work.prompts * work.group * (work.prompt + work.fresh)

/** Rollouts of as many tokens as `--new` says: fewer, where a machine has little time. */
function shortened(row: Row): Row {
  if (options.new === undefined || row.work.work !== 'rollouts') return row
  const at = row.peer.indexOf('--new') + 1
  const [script, ...args] = row.peer.with(at, options.new) as [string, ...string[]]
  return { ...row, work: { ...row.work, fresh: Number(options.new) }, peer: [script, ...args] }
}

async function measureOurs(row: Row, base: Base): Promise<Cell | null> {
  const repeats = options.quick ? 1 : row.repeats
  const job = JSON.stringify({ ...row.work, base: base.path, threads, repeats })
  const m = await lastLine<Measured>(process.execPath, [join(HERE, 'measure.ts'), job])
  if (!m) return null
  const seconds = byProcessor ? m.cpuSeconds / threads : m.seconds
  const rate = tokensOf(row.work) / seconds
  print(row, base.name, rate, seconds, m.peakMib, `${m.notes}, load ${m.load.toFixed(1)}`)
  if (!m.plain) return { rate, peakMib: m.peakMib }
  const plainSeconds = byProcessor ? m.plain.cpuSeconds / threads : m.plain.seconds
  const ofPlain = plainSeconds / seconds
  console.log(`  plain llama_decode without sampling: ${(tokensOf(row.work) / plainSeconds).toFixed(0)} tok/s, ${plainSeconds.toFixed(2)} s; ours is ${ofPlain.toFixed(3)} × that`) // prettier-ignore
  return { rate, peakMib: m.peakMib, ofPlain }
}

async function measurePeer(row: Row, python: string, dtype: string): Promise<Cell | null> {
  const [script, ...args] = row.peer
  const common = ['--model', options.model, '--dtype', dtype, '--threads', String(threads)]
  const quick = options.quick
    ? ['--steps', '--repeats'].filter((it) => args.includes(it)).flatMap((it) => [it, '1'])
    : []
  const p = await lastLine<Peer>(python, [join(HERE, 'peer', script), ...common, ...args, ...quick])
  if (!p) return null
  const wall = p.total_ms !== undefined ? p.total_ms / 1000 : (p.seconds ?? p.step_seconds ?? NaN)
  const processor = p.cpu_ms !== undefined ? p.cpu_ms / 1000 : (p.cpu_seconds ?? p.cpu_seconds_per_step ?? NaN)
  const seconds = byProcessor ? processor / threads : wall
  const rate = tokensOf(row.work) / seconds
  print(row, `PyTorch ${dtype}`, rate, seconds, p.peak_rss_mb, `load ${loadavg()[0]!.toFixed(1)}`)
  return { rate, peakMib: p.peak_rss_mb }
}

function print(row: Row, who: string, rate: number, seconds: number, peakMib: number, notes: string): void {
  console.log(`${row.name}, ${who}: ${rate.toFixed(0)} tok/s, ${seconds.toFixed(2)} s, ${peakMib} MiB, ${notes}`)
}

function printHead({ versions: { llama, ggml, commit } }: Backend['native']): void {
  const shown = process.argv.slice(2).map((arg) => (arg.includes('/') ? basename(arg) : arg)) // no path of this machine
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  const clock = byProcessor ? 'processor time' : 'wall time'
  console.log(`npm run bench -- ${shown.join(' ')}`)
  console.log(`${new Date().toISOString()}, ${cpus()[0]?.model}, ${cpus().length} processors, ${memory}, ${threads} threads, load ${loadavg()[0]!.toFixed(1)}`) // prettier-ignore
  console.log(`Node ${process.version}, node-llama-cpp ${PINNED['node-llama-cpp']}, llama.cpp ${llama} (${commit}), ggml ${ggml}`) // prettier-ignore
  console.log(`${basename(options.model)}; LoRA rank 16 on all seven projections, AdamW, whole steps; ${clock}, median after one uncounted step\n`) // prettier-ignore
}

function printTable(table: readonly Line[], bases: readonly string[], dtypes: readonly string[]): void {
  const cell = (it: Cell | undefined): string =>
    it
      ? `${it.rate.toFixed(0)} (${(it.peakMib / 1024).toFixed(1)} GiB)${it.ofPlain === undefined ? '' : `, ${it.ofPlain.toFixed(2)} × plain`}`
      : '–'
  const best = (cells: Map<string, Cell>): Cell | undefined => [...cells.values()].sort((a, b) => b.rate - a.rate)[0]
  const ratio = (ours: Cell | undefined, peer: Cell | undefined, what: 'rate' | 'peakMib'): string =>
    ours && peer ? (ours[what] / peer[what]).toFixed(2) : '–'
  const compared = dtypes.length > 0
  console.log(
    '\ntokens per second (peak memory); ratios: our fastest over the peer’s fastest; “× plain”: over the same libraries’ batched decode without sampling'
  )
  const peerNames = dtypes.map((dtype) => `PyTorch ${dtype}`)
  const head = ['work', ...bases, ...peerNames, ...(compared ? ['speed ×', 'memory ×'] : [])]
  console.log(`| ${head.join(' | ')} |\n|${head.map(() => '---').join('|')}|`)
  for (const { name, ours, peers } of table) {
    const ratios = (['rate', 'peakMib'] as const).map((what) => ratio(best(ours), best(peers), what))
    const cells = [...bases.map((base) => cell(ours.get(base))), ...dtypes.map((dtype) => cell(peers.get(dtype)))]
    console.log(`| ${[name, ...cells, ...(compared ? ratios : [])].join(' | ')} |`)
  }
}

async function main(): Promise<void> {
  const keys = new Set(options.only.split(','))
  const rows = ROWS.filter(({ key }) => keys.has(key)).map(shortened)
  if (options.help || rows.length === 0) {
    const names = ROWS.map(({ key }) => key).join(',')
    console.log(`npm run bench -- [--model base.gguf] [--only ${names}] [--bases file,F16,BF16,F32,Q8_0]`)
    console.log(
      '  [--threads 2] [--new 16] [--python venv/bin/python] [--peers bf16,f32] [--clock wall|processor] [--quick]'
    )
    return
  }
  if (!existsSync(options.model)) {
    console.log(`${basename(options.model)} is not there: give a GGUF with --model`)
    return
  }
  const python = options.python ?? process.env['REASONSMITH_PYTHON']
  const dtypes = python === undefined ? [] : options.peers.split(',')
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-bench-'))
  const backend = openBackend({ threads })
  try {
    printHead(backend.native)
    const bases = basesOf(backend, options.model, folder)
    const table: Line[] = []
    for (const row of rows) {
      const line: Line = { name: row.name, ours: new Map(), peers: new Map() }
      for (const base of bases) {
        const cell = await measureOurs(row, base)
        if (cell) line.ours.set(base.name, cell)
      }
      for (const dtype of dtypes) {
        const cell = await measurePeer(row, python!, dtype)
        if (cell) line.peers.set(dtype, cell)
      }
      table.push(line)
    }
    printTable(table, bases.map(({ name }) => name), dtypes) // prettier-ignore
    if (dtypes.length === 0) console.log('\nThe peer was not measured: set REASONSMITH_PYTHON as peer/common.py says.')
  } finally {
    backend.dispose()
    rmSync(folder, { recursive: true, force: true })
  }
}

await main()
