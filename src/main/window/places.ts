/** Places inside the page that the desktop leads to, from files and menus. */
import { extname, resolve } from 'node:path'

/** Where a file a person opens is shown: a model, a recipe, or data to import. Null: nothing here opens it. */
export function placeOfFile(path: string): string | null {
  const kinds: Readonly<Record<string, string>> = {
    '.gguf': 'models',
    '.yaml': 'train',
    '.yml': 'train',
    '.jsonl': 'datasets',
    '.json': 'datasets',
    '.csv': 'datasets',
    '.parquet': 'datasets'
  }
  const page = kinds[extname(path).toLowerCase()]
  return page === undefined ? null : `#/${page}?${new URLSearchParams({ file: resolve(path) }).toString()}`
}

/** The file among a program's arguments, if one is there. */
export function placeOfArguments(args: readonly string[]): string | null {
  const file = args.slice(1).findLast((one) => !one.startsWith('-') && placeOfFile(one) !== null)
  return file === undefined ? null : placeOfFile(file)
}
