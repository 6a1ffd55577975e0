/** The architecture as a table, and what finds the places where the code leaves it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'

/** layer -> what it may import besides itself. `import type` counts the same. A trailing `:` allows a whole scheme. */
export const MAY: Readonly<Record<string, readonly string[]>> = {
  shared: ['zod', '@orpc/contract'],
  renderer: [
    'shared',
    'svelte',
    '@orpc/client',
    '@orpc/contract',
    'bits-ui',
    'uplot',
    'layerchart',
    'virtua',
    'marked',
    'dompurify',
    'katex',
    '@xterm',
    '@lucide/svelte',
    '@fontsource-variable',
    'codemirror',
    '@codemirror',
    '@lezer/highlight',
    'zod',
    'yaml'
  ],
  /** Files that are there whole or not at all. */
  'main/files': ['shared', 'node:'],
  'main/reasoning': ['shared', '@cortex-js/compute-engine'],
  'main/data/prepare': ['shared', 'main/files', 'main/reasoning', 'node:', 'yaml', 'zod'],
  'main/data/models': ['shared', 'main/data/prepare', 'node:', 'node-llama-cpp'], // its GGUF header reader and downloader
  'main/data/datasets': [
    'shared',
    'main/files',
    'main/data/prepare',
    'main/data/store',
    'main/reasoning',
    'node:',
    'hyparquet',
    'hyparquet-compressors',
    'papaparse'
  ],
  'main/data/store': ['shared', 'node:', 'better-sqlite3'],
  'main/engine': ['shared', 'main/files', 'node:', 'koffi', 'node-llama-cpp', '@huggingface/jinja'],
  'main/policy': ['shared', 'main/reasoning', 'main/data/prepare', 'main/engine', 'node:'],
  'main/evaluation': [
    'shared',
    'main/files',
    'main/reasoning',
    'main/data/prepare',
    'main/engine',
    'main/policy',
    'node:',
    'zod',
    'yaml'
  ],
  'main/training': [
    'shared',
    'main/files',
    'main/reasoning',
    'main/data/prepare',
    'main/engine',
    'main/policy',
    'main/evaluation',
    'node:',
    'zod',
    'yaml'
  ],
  'main/jobs': ['shared', 'main/data/store', 'node:'],
  // What the host may use of evaluation and policy is their pure part: results, statistics, tasks. The engine stays away.
  'main/ipc': [
    'shared',
    'main/files',
    'main/reasoning',
    'main/data/prepare',
    'main/data/models',
    'main/data/datasets',
    'main/data/store',
    'main/policy/tasksets.ts',
    'main/evaluation/answers.ts',
    'main/evaluation/equality-process.ts',
    'main/evaluation/results.ts',
    'main/evaluation/statistics.ts',
    'main/evaluation/report/data.ts',
    'main/evaluation/report/summary.ts',
    'main/jobs',
    'node:',
    'zod',
    'yaml',
    '@orpc/contract',
    '@orpc/server'
  ],
  'main/serve': ['shared', 'main/ipc', 'node:', 'ws', '@orpc/server'],
  'main/commands': [
    'shared',
    'main/files',
    'main/data/prepare',
    'main/data/models',
    'main/jobs',
    'main/serve',
    'node:',
    'zod',
    'yaml',
    'commander',
    'cli-progress'
  ],
  'main/window': ['shared', 'node:', 'electron']
}

/** Files outside the layers. They wire; each may reach these layers and no other. */
export const ENTRIES: Readonly<Record<string, readonly string[]>> = {
  'main/index.ts': ['main/window', 'main/ipc', 'node:', 'electron', '@orpc/server'],
  'main/cli.ts': ['main/commands', 'node:', '../package.json'],
  'main/device-trial.ts': ['main/engine', 'shared', 'node:'],
  'main/symbolic-worker.ts': ['shared', 'main/reasoning', 'node:'],
  'main/worker.ts': [
    'main/jobs',
    'main/training',
    'main/evaluation',
    'main/policy',
    'main/engine',
    'main/data/models',
    'shared',
    'node:'
  ]
}

const LAYERS = Object.keys(MAY).sort((a, b) => b.length - a.length)
const layerOf = (file: string): string | undefined => LAYERS.find((layer) => file.startsWith(`${layer}/`))
const covers = (allowed: string, target: string): boolean =>
  allowed.endsWith(':') ? target.startsWith(allowed) : target === allowed || target.startsWith(`${allowed}/`)

/** Static and dynamic imports, re-exports, `import type`, `new URL('./x.ts', import.meta.url)` and `require`. */
const IMPORT =
  /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*|\bnew URL\(\s*)(?:\/\*[^*]*\*\/\s*)?(['"`])((?:(?!\1)[^\n])+)\1/g

/** Statements that the runtime never sees. */
const TYPE_IMPORT = /\b(?:import|export) type\b[^;'"]*?from\s*(['"])[^'"\n]+\1/g

/** A source without its comments, so that a sentence about an import is none. */
const code = (source: string): string => source.replace(/\/\*[\s\S]*?\*\/|(^|[\s;{}])\/\/[^\n]*/g, '$1')

/** Every import under `root` (the `src` folder) that the table does not allow, as one line each. */
export function layerBreaches(root: string): string[] {
  return sourceFiles(root).flatMap((file) => {
    const layer = layerOf(file)
    const may = layer === undefined ? ENTRIES[file] : [layer, ...MAY[layer]!]
    if (may === undefined) return [`${file} belongs to no layer`]
    return importsOf(code(readFileSync(join(root, file), 'utf8')))
      .filter((spec) => !may.some((allowed) => covers(allowed, targetOf(file, spec))))
      .map((spec) => `${file} may not import ${spec}`)
  })
}

function importsOf(source: string): string[] {
  return [...source.matchAll(IMPORT)].map((match) => match[2]!).filter((spec) => /^[.@a-z]/i.test(spec))
}

/** A relative import by its path under `src`, another by its name. Styles and assets count for their folder. */
function targetOf(file: string, spec: string): string {
  return spec.startsWith('.') ? posix.join(posix.dirname(file), spec) : spec
}

/** The TypeScript and Svelte files under a folder, with forward slashes, sorted. */
export function sourceFiles(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => name.split(sep).join('/'))
    .filter((name) => /\.(ts|svelte)$/.test(name))
    .sort()
}

/** Files longer than the budget, unless they are on the list with a reason and stay within twice of it. */
export function tooLong(root: string, budget: number, allowed: Readonly<Record<string, string>>): string[] {
  return sourceFiles(root)
    .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
    .filter(({ file, lines }) => lines > (file in allowed ? 2 * budget : budget))
    .map(({ file, lines }) => `${file} has ${lines} lines, ${budget} are allowed`)
}

/** Names that say nothing of what is inside attract everything. */
export function vagueNames(root: string): string[] {
  return sourceFiles(root).filter((file) =>
    file.split('/').some((part) => /^(utils?|helpers?|common|misc)(\.|$)/i.test(part))
  )
}

/** Files that import a package outside the folders it is for. */
export function strayImports(root: string, packageName: string, folders: readonly string[]): string[] {
  return sourceFiles(root).filter(
    (file) =>
      !folders.some((folder) => file.startsWith(folder)) &&
      importsOf(code(readFileSync(join(root, file), 'utf8'))).some((spec) => covers(packageName, spec))
  )
}

/** Every file of `src` a file reaches by its imports, those of types left out: what may be loaded with it. */
export function reached(root: string, from: string, seen: ReadonlySet<string> = new Set()): ReadonlySet<string> {
  const all = new Set([...seen, from])
  const source = code(readFileSync(join(root, from), 'utf8'))
  return importsOf(source.replaceAll(TYPE_IMPORT, ''))
    .filter((spec) => spec.startsWith('.') && spec.endsWith('.ts'))
    .map((spec) =>
      relative(root, join(root, dirname(from), spec))
        .split(sep)
        .join('/')
    )
    .filter((file) => existsSync(join(root, file)))
    .reduce<ReadonlySet<string>>((done, file) => (done.has(file) ? done : reached(root, file, done)), all)
}
