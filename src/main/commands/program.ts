/** The command line: a table of commands, each a few lines of wiring around one job. */
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { ZodError } from 'zod'
import { AppError, EXIT_CODES } from '../../shared/errors.ts'
import { MERGE_TYPES, QUANTIZATIONS } from '../../shared/export-types.ts'
import type { Quantization } from '../../shared/export-types.ts'
import { DEVICES } from '../../shared/recipe.ts'
import type { Recipe } from '../../shared/recipe.ts'
import { JOB_INPUTS } from '../../shared/worker-contract.ts'
import type { Job, JobKind } from '../../shared/worker-contract.ts'
import { isPeftAdapter, readRecipeFile, refuseImpossible } from '../data/prepare/recipe-file.ts'
import { recipeTemplate, TEMPLATES } from '../data/prepare/recipe-template.ts'
import { traceLines, workedTraces } from '../data/prepare/traces.ts'
import { toErrorShape } from '../jobs/error-shape.ts'
import { readBaseFacts } from '../data/models/base-facts.ts'
import { jsonDisplay, textDisplay } from './display.ts'
import type { Display, Streams } from './display.ts'
import { EXIT_CODE_TABLE } from './exit-codes.ts'
import { prepareInput, PREPARE_OPTIONS } from './prepare-options.ts'
import { existingRun, keepRecipe, recipeOfRun, refuseOccupied, shown } from '../data/prepare/run-folder.ts'
import { runJob } from './run-job.ts'
import { writeWholeFiles } from '../files/whole-file.ts'

export type Host = { readonly workerPath: string; readonly version: string; readonly streams: Streams }

type Options = Readonly<Record<string, unknown>> & { readonly verbose?: boolean }
type Run = (kind: JobKind, input: object, runDir?: string, continueWith?: string) => Promise<void>
type Action = (
  args: readonly string[],
  options: Options,
  run: Run,
  display: Display,
  host: Host
) => Promise<void> | void
type Entry = {
  readonly name: string
  readonly about: string
  readonly example: string
  readonly options?: readonly Option[]
  readonly action: Action
}

/** Runs the command line and resolves with the exit code. */
export async function runCommandLine(argv: readonly string[], host: Host): Promise<number> {
  const display = argv.includes('--json') ? jsonDisplay(host.streams) : textDisplay(host.streams)
  const program = buildProgram(host, display)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0 // --help, --version
    const shape =
      error instanceof CommanderError
        ? { code: 'usage' as const, message: error.message, hint: 'reasonsmith --help lists the commands' }
        : toErrorShape(error)
    display.error(shape)
    return EXIT_CODES[shape.code]
  }
}

function buildProgram(host: Host, display: Display): Command {
  const program = new Command('reasonsmith')
    .description('Train small reasoning models on one workstation, offline: teach, sharpen, measure, read.')
    .version(host.version)
    .option('--json', 'events, results and errors as one JSON object a line on stdout')
    .addHelpText('after', `\nExample:\n  reasonsmith demo\n\n${EXIT_CODE_TABLE}`)
  quiet(program, host)
  for (const entry of COMMANDS) {
    const command = program.command(entry.name).description(entry.about)
    quiet(command, host)
    for (const option of entry.options ?? []) command.addOption(option)
    command
      .option('--json', 'events, results and errors as one JSON object a line on stdout')
      .option('--verbose', 'show what the native libraries print')
      .addHelpText('after', `\nExample:\n${entry.example.replaceAll(/^/gm, '  ')}\n\n${EXIT_CODE_TABLE}`)
      .action(async () => {
        const options = command.opts<Options>()
        const run: Run = async (kind, input, runDir = '', continueWith) => {
          const checked = JOB_INPUTS[kind].safeParse(input)
          if (!checked.success) throw new AppError('usage', badOptions(checked.error))
          const job: Job = { kind, input: checked.data, runDir }
          const verbose = options.verbose === true
          display.result(await runJob({ job, workerPath: host.workerPath, display, verbose, continueWith }))
        }
        await entry.action(command.processedArgs as string[], options, run, display, host)
      })
  }
  return program
}

/** Only options can be off here: a recipe was checked with its lines before. */
const badOptions = (error: ZodError): string =>
  error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n')

/** Errors are thrown and shown in one place; only help is written by the library. */
function quiet(command: Command, { streams }: Host): void {
  command.exitOverride().configureOutput({ writeOut: (text) => streams.out.write(text), writeErr: () => undefined })
}

const integer =
  (least: number) =>
  (text: string): number => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`)
    return value
  }
const number = (text: string): number => {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.')
  return value
}
/** `Q8_0,Q4_K_M` in any case, without repeats. */
const quantizations = (text: string): Quantization[] => {
  const names = [...new Set(text.split(',').map((name) => name.trim().toUpperCase()))]
  const unknown = names.find((name) => !QUANTIZATIONS.some((it) => it === name))
  if (unknown === undefined) return names as Quantization[]
  throw new InvalidArgumentError(`"${unknown}" is none of ${QUANTIZATIONS.join(', ')}.`)
}
/** Nearly without loss, and what most people run. */
const USUAL_QUANTIZATIONS: readonly Quantization[] = ['Q8_0', 'Q4_K_M']
const threads = new Option(
  '--threads <count>',
  'CPU threads; default: the processors this process may use; fewer where other programs work beside it'
).argParser(integer(1))
const device = new Option('--device <name>', 'where to compute; auto: a GPU that passes its self-test, else the CPU')
  .choices(DEVICES)
  .default('auto')
const seed = new Option('--seed <number>', 'seed of everything random').argParser(integer(0)).default(0)

/** Checks a recipe completely, then runs its job. */
async function startRecipe(file: string, kind: Recipe['kind'], run: Run): Promise<void> {
  const read = readRecipeFile(file, kind)
  refuseOccupied(read)
  refuseImpossible(read, await readBaseFacts(read.recipe.base))
  keepRecipe(read.recipe)
  await runRecipe(read.recipe, false, run)
}

const runRecipe = (recipe: Recipe, resume: boolean, run: Run): Promise<void> =>
  run(recipe.kind, { recipe, resume }, recipe.output_dir, `reasonsmith resume ${shown(recipe.output_dir)}`)

const recipeCommand = (kind: Recipe['kind'], about: string): Entry => ({
  name: `${kind} <recipe>`,
  about,
  example: `reasonsmith init && reasonsmith ${kind} ${kind}.yaml`,
  action: async ([file = ''], _options, run) => startRecipe(file, kind, run)
})

const COMMANDS: readonly Entry[] = [
  {
    name: 'doctor',
    about: 'Say which device trains here, whether it computes right, and how fast.',
    example: 'reasonsmith doctor',
    options: [device, threads],
    action: (_args, { verbose: _, json: __, ...input }, run) => run('doctor', input)
  },
  {
    name: 'demo',
    about:
      'The whole recipe on the bundled base: teach, sharpen, measure, report. Stopped, the same command continues.',
    example: 'reasonsmith demo --dir runs/demo',
    options: [
      new Option('--dir <folder>', 'where its runs and its report go').default('runs/demo'),
      new Option('--short', 'a quick pass that only shows that everything works').default(false),
      seed,
      device,
      threads
    ],
    action: async (_args, { dir, verbose: _, json: __, ...input }, run) => {
      const folder = resolve(String(dir))
      mkdirSync(folder, { recursive: true })
      const again = [
        'reasonsmith demo --dir',
        shown(folder),
        ...(input['short'] ? ['--short'] : []),
        `--seed ${String(input['seed'])}`,
        ...(input['device'] === 'auto' ? [] : [`--device ${String(input['device'])}`]),
        ...(input['threads'] === undefined ? [] : [`--threads ${String(input['threads'])}`])
      ]
      await run('demo', input, folder, again.join(' '))
    }
  },
  {
    name: 'prepare <base>',
    about: 'Make a base ready to think: think tokens, a longer context, the fixed system message. Writes a new GGUF.',
    example:
      'reasonsmith prepare base.gguf --think --context 32768\nreasonsmith prepare base.gguf --f32 --to base-f32.gguf\nreasonsmith prepare base.gguf --think "[T]" "[/T]" --to thinker.gguf',
    options: [...PREPARE_OPTIONS, threads],
    action: async ([base = ''], options, run) => {
      requireModel(base)
      await readBaseFacts(base)
      await run('prepare', prepareInput(base, options))
    }
  },
  recipeCommand('sft', 'Teach: train a LoRA adapter, or every weight, on traces, as the recipe says.'),
  recipeCommand('grpo', 'Sharpen: train a LoRA adapter, or every weight, by reward, as the recipe says.'),
  recipeCommand('evaluate', 'Measure: run every policy of the recipe on its tasksets, repeatedly, and compare.'),
  {
    name: 'sample <model> <prompt>',
    about: 'Stream one answer of a model: the thought, then the answer. A prompt of - reads stdin.',
    example: 'reasonsmith sample base.gguf "What is 17 * 23?" --adapter runs/grpo/adapter.gguf',
    options: [
      new Option('--adapter <path>', 'an adapter to sample with: a GGUF, or a folder of PEFT’s'),
      new Option('--system <text>', 'a system message; default: the reasoning one'),
      new Option('--max-tokens <count>', 'the longest answer').argParser(integer(1)).default(1024),
      new Option('--temperature <number>', 'more than 0; lower is more certain').argParser(number).default(0.8),
      seed,
      device,
      threads
    ],
    action: async ([model = '', prompt = ''], options, run) => {
      const adapter = options['adapter'] as string | undefined
      requireModel(model)
      if (adapter !== undefined && !isPeftAdapter(adapter)) requireModel(adapter)
      await readBaseFacts(model)
      await run('sample', {
        model: resolve(model),
        prompt: prompt === '-' ? readFileSync(0, 'utf8') : prompt,
        adapter: adapter === undefined ? undefined : resolve(adapter),
        system_message: options['system'],
        max_completion_length: options['maxTokens'],
        sampling: { temperature: options['temperature'], top_k: 50, top_p: 0.95 },
        seed: options['seed'],
        device: options['device'],
        threads: options['threads']
      })
    }
  },
  {
    name: 'report <run>',
    about: 'Write report.md and report.html of a run from what it recorded.',
    example: 'reasonsmith report runs/evaluate',
    action: async ([folder = ''], _options, run) => run('report', {}, existingRun(folder))
  },
  {
    name: 'export <run>',
    about:
      'Write the trained adapter as GGUF and in PEFT’s format, merged and quantised if asked, or the whole trained model; checked by loading it again.',
    example:
      'reasonsmith export runs/grpo --to adapters/grpo\nreasonsmith export runs/grpo --to models/grpo --all --scores runs/evaluate',
    options: [
      new Option('--to <folder>', 'where the files go').makeOptionMandatory(),
      new Option('--merge', 'also base and adapter in one GGUF'),
      new Option(
        '--merge-type <type>',
        'what they are merged in; default: BF16 for a BF16 base, else F16; of a whole model: also in this type'
      ).choices(MERGE_TYPES),
      new Option(
        '--quantize <types>',
        `also the merged model in these types, such as ${USUAL_QUANTIZATIONS.join()}`
      ).argParser(quantizations),
      new Option('--all', `the same as --merge --quantize ${USUAL_QUANTIZATIONS.join()}`),
      new Option('--scores <run>', 'an evaluation whose accuracies the card shows')
    ],
    action: async ([folder = ''], options, run) => {
      const { to, merge, mergeType, quantize, all, scores } = options
      await run(
        'export',
        {
          to: resolve(String(to)),
          merge: mergeType ?? (merge === true || all === true ? 'auto' : undefined),
          quantize: quantize ?? (all === true ? USUAL_QUANTIZATIONS : []),
          scores: typeof scores === 'string' ? existingRun(scores) : undefined
        },
        existingRun(folder)
      )
    }
  },
  {
    name: 'import <adapter>',
    about: 'Turn an adapter of PEFT’s, or another GGUF adapter, into one that fits this base, and check it.',
    example: 'reasonsmith import peft-folder --base base.gguf --to adapter.gguf',
    options: [
      new Option('--base <gguf>', 'the base it was trained on').makeOptionMandatory(),
      new Option('--to <file>', 'the GGUF adapter to write').makeOptionMandatory(),
      threads
    ],
    action: async ([adapter = ''], { base, to, threads: count }, run) => {
      if (!existsSync(adapter)) throw new AppError('model', `no such adapter: ${adapter}`)
      requireModel(String(base))
      await readBaseFacts(String(base))
      await run('import', {
        adapter: resolve(adapter),
        base: resolve(String(base)),
        to: resolve(String(to)),
        threads: count
      })
    }
  },
  {
    name: 'resume <run>',
    about: 'Continue a run that was stopped or that crashed, from its last checkpoint.',
    example: 'reasonsmith resume runs/grpo',
    action: async ([folder = ''], _options, run) => {
      const { recipe } = recipeOfRun(folder)
      await runRecipe({ ...recipe, output_dir: resolve(folder) }, true, run) // a run may have been moved
    }
  },
  {
    name: 'traces <tasks>',
    about: 'Make traces to teach from the worked solutions of a task file (GSM8K format).',
    example: 'reasonsmith traces gsm8k-train.jsonl --to traces.jsonl --limit 1000',
    options: [
      new Option('--to <file>', 'messages JSONL to write').makeOptionMandatory(),
      new Option('--skip <count>', 'tasks to leave out first').argParser(integer(0)).default(0),
      new Option('--limit <count>', 'tasks to take at most').argParser(integer(1))
    ],
    action: ([tasks = ''], { to, skip, limit }, _run, display) =>
      writeTraces(tasks, String(to), { skip, limit }, display)
  },
  {
    name: 'serve',
    about: 'The app in a browser tab of this machine; prints the address to open.',
    example: 'reasonsmith serve --workspace ~/reasonsmith',
    options: [
      new Option('--workspace <folder>', 'where runs, datasets and the record live; default: ~/reasonsmith'),
      new Option('--port <number>', '0: any free one').argParser(integer(0)).default(4780),
      new Option('--host <address>', 'the address to listen on').default('127.0.0.1')
    ],
    action: async (_args, { workspace, port, host: address }, _run, display, host) => {
      const { runServe } = await import('../serve/run.ts')
      const { workerPath, version } = host
      const folder = workspace === undefined ? undefined : resolve(String(workspace))
      await runServe({
        workspace: folder,
        port: Number(port),
        host: String(address),
        workerPath,
        version,
        say: display.note
      })
    }
  },
  {
    name: 'init [dir]',
    about: 'Write commented recipe files: sft.yaml, grpo.yaml, evaluate.yaml.',
    example: 'reasonsmith init my-experiment',
    action: ([folder = '.'], _options, _run, display) => writeTemplates(folder, display)
  }
]

function requireModel(file: string): void {
  if (!existsSync(file)) throw new AppError('model', `no such file: ${file}`)
  if (!statSync(file).isFile()) throw new AppError('model', `${file} is a folder, a GGUF file is needed`)
}

function writeTraces(tasks: string, to: string, which: { skip: unknown; limit: unknown }, display: Display): void {
  if (!existsSync(tasks)) throw new AppError('data', `no such file: ${tasks}`)
  if (existsSync(to)) throw new AppError('disk', `already there: ${to}`, 'nothing was written; name another file')
  const numbers = { skip: Number(which.skip), ...(which.limit !== undefined && { limit: Number(which.limit) }) }
  const traces = workedTraces(readFileSync(tasks, 'utf8'), { file: tasks, ...numbers })
  writeWholeFiles(new Map([[to, traceLines(traces)]]))
  display.result({ file: to, traces: traces.length, lines: [`wrote ${traces.length} traces to ${to}`] })
}

function writeTemplates(folder: string, display: Display): void {
  const kinds = Object.keys(TEMPLATES) as Recipe['kind'][]
  const files = kinds.map((kind) => ({ kind, path: join(folder, `${kind}.yaml`) }))
  const there = files.filter(({ path }) => existsSync(path)).map(({ path }) => path)
  if (there.length > 0)
    throw new AppError('disk', `already there: ${there.join(', ')}`, 'nothing was written; name another folder')
  mkdirSync(folder, { recursive: true })
  writeWholeFiles(new Map(files.map(({ kind, path }) => [path, recipeTemplate(kind)])))
  display.result({ files: files.map(({ path }) => path), lines: files.map(({ path }) => `wrote ${path}`) })
}
