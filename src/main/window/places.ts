/** Places inside the page that the desktop leads to, from files and menus. */
import { basename, extname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

type Place = { readonly page: string; readonly query: (path: string) => Readonly<Record<string, string>> }

/** The pages' own deep links: a model opened, a recipe laid out, a file before it is imported. */
const MODEL: Place = { page: 'models', query: (model) => ({ model }) }
const RECIPE: Place = { page: 'train', query: (file) => ({ file }) }
const DATA: Place = { page: 'datasets', query: (path) => ({ import: path, as: basename(path) }) }
const PLACES: Readonly<Record<string, Place>> = {
  '.gguf': MODEL,
  '.yaml': RECIPE,
  '.yml': RECIPE,
  '.jsonl': DATA,
  '.ndjson': DATA,
  '.json': DATA,
  '.csv': DATA,
  '.tsv': DATA,
  '.parquet': DATA
}
/** Without dots, for dialogs. */
export const OPENED_EXTENSIONS: readonly string[] = Object.keys(PLACES).map((extension) => extension.slice(1))

/**
 * Where a file a person opens is shown: a model, a recipe, or data to import. A path is relative to `folder`; file managers
 * on Linux hand over addresses (`file:///…`) instead. Null: nothing here opens it.
 */
export function placeOfFile(file: string, folder: string = process.cwd()): string | null {
  const path = pathOf(file, folder)
  const place = path === null ? undefined : PLACES[extname(path).toLowerCase()]
  return place === undefined ? null : `#/${place.page}?${new URLSearchParams(place.query(path!)).toString()}`
}

function pathOf(file: string, folder: string): string | null {
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(file)) return resolve(folder, file)
  try {
    return fileURLToPath(file)
  } catch {
    return null // an address of another kind, or of another machine
  }
}

/** The file among a program's arguments, if one is there; `folder` is where the program was called. */
export function placeOfArguments(args: readonly string[], folder?: string): string | null {
  const file = args.slice(1).findLast((one) => !one.startsWith('-') && placeOfFile(one, folder) !== null)
  return file === undefined ? null : placeOfFile(file, folder)
}
