/** Programs of our own that run in a process of their own. */
import { existsSync } from 'node:fs'

/**
 * Where `name` lies, an entry of `src/main`: run from source by type stripping; built, beside the entry, and the code that
 * uses it (`from`, its `import.meta.url`) there or in a folder of chunks; packaged, the real file beside the archive. Throws
 * where it is missing.
 */
export function programOf(name: string, from: string): URL {
  const found = [`../${name}.ts`, `./${name}.js`, `../${name}.js`]
    .map((it) => new URL(it, from.replace('/app.asar/', '/app.asar.unpacked/')))
    .find((it) => existsSync(it))
  if (found === undefined) throw new Error(`the program ${name} is missing`)
  return found
}
