/** Prints how many lines each layer holds and which files are the longest. Prints only; the limits are in test/structure. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOTS = ['src', 'test', 'scripts', 'resources']
const SHOWN = 12

const files = ROOTS.flatMap((root) =>
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|svelte)$/.test(name))
    .map((name) => ({
      path: join(root, name),
      lines: readFileSync(join(root, name), 'utf8').split('\n').length - 1
    }))
)

/** `src/main/engine/ffi/x.ts` counts for `src/main/engine`, an entry file for its folder, a test for `test/unit`. */
function layerOf(path: string): string {
  const folders = path.split('/').slice(0, -1)
  return folders.slice(0, folders[0] === 'src' ? 3 : 2).join('/')
}

const layers = new Map<string, { files: number; lines: number }>()
for (const { path, lines } of files) {
  const layer = layers.get(layerOf(path)) ?? { files: 0, lines: 0 }
  layers.set(layerOf(path), { files: layer.files + 1, lines: layer.lines + lines })
}

const row = (name: string, count: number | string, lines: number): string =>
  `${name.padEnd(34)} ${String(count).padStart(5)} ${String(lines).padStart(7)}`
const total = files.reduce((sum, file) => sum + file.lines, 0)

console.log(`${'layer'.padEnd(34)} files   lines`)
for (const [name, layer] of [...layers].sort()) console.log(row(name, layer.files, layer.lines))
console.log(row('in all', files.length, total))
console.log('\nlongest files')
for (const file of files.toSorted((a, b) => b.lines - a.lines).slice(0, SHOWN))
  console.log(row(file.path, '', file.lines))
