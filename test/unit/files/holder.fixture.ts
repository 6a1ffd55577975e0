/**
 * Holds folders from a process of its own. `race START EVERY FOLDER…` tries one after another, each at its moment, says
 * which it got and keeps them until it is killed. `without-files FOLDER` tries when no further file can be opened.
 */
import { openSync } from 'node:fs'
import { holdFolder } from '../../../src/main/files/held-folder.ts'

function got(folder: string): boolean {
  try {
    holdFolder(folder)
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'disk') return false
    throw error
  }
}

const [what, ...rest] = process.argv.slice(2)
if (what === 'race') {
  const [start, every, ...folders] = rest
  const mine = folders.filter((folder, at) => {
    while (Date.now() < Number(start) + at * Number(every)); // together with the others, to the millisecond
    return got(folder)
  })
  process.stdout.write(`${JSON.stringify(mine)}\n`)
  setInterval(() => 0, 1000)
} else {
  try {
    for (;;) openSync(process.execPath, 'r')
  } catch {
    try {
      holdFolder(rest[0]!)
    } catch (error) {
      process.stdout.write(String((error as NodeJS.ErrnoException).code))
    }
  }
}
