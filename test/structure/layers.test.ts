import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { ENTRIES, layerBreaches, MAY, reached, sourceFiles, strayImports, tooLong, vagueNames } from './layers.ts'

const SRC = join(import.meta.dirname, '../../src')
const TESTS = join(import.meta.dirname, '..')
const BUDGET = 400
/** Files that may be longer, and why. */
const LONG: Readonly<Record<string, string>> = {}

describe('this repository', () => {
  test('imports only what the table of layers allows', () => expect(layerBreaches(SRC)).toEqual([]))
  test('has no file over the budget', () => expect(tooLong(SRC, BUDGET, LONG)).toEqual([]))
  test('has no test file over twice the budget', () => expect(tooLong(TESTS, 2 * BUDGET, {})).toEqual([]))
  test('has a short list of exceptions', () => expect(Object.keys(LONG).length).toBeLessThanOrEqual(3))
  test('names nothing utils, helpers, common or misc', () => expect(vagueNames(SRC)).toEqual([]))
  test('imports electron only in window and its entry', () =>
    expect(strayImports(SRC, 'electron', ['main/window/', 'main/index.ts'])).toEqual([]))
  test('loads native code only in the engine', () => expect(strayImports(SRC, 'koffi', ['main/engine/'])).toEqual([]))

  test.each(['main/cli.ts', 'main/index.ts'])('%s, a host, never reaches the engine', (entry) => {
    const native = [...reached(SRC, entry)].filter((file) => /^main\/(engine|training|worker\.ts)/.test(file))
    expect(native).toEqual([])
  })
})

describe('the checker', () => {
  const roots: string[] = []
  const tree = (files: Readonly<Record<string, string>>): string => {
    const root = mkdtempSync(join(tmpdir(), 'layers-'))
    roots.push(root)
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true })
      writeFileSync(join(root, name), text)
    }
    return root
  }
  afterEach(() => roots.splice(0).forEach((root) => rmSync(root, { recursive: true })))

  test('finds every kind of planted breach and no other', () => {
    const root = tree({
      'shared/a.ts': `import { readFileSync } from 'node:fs'\nimport { z } from 'zod'`,
      'shared/b.ts': `export { x } from '../main/engine/x.ts'`,
      'renderer/App.svelte': `<script lang="ts">import type { Run } from '../main/jobs/run.ts'</script>`,
      'renderer/b.ts': `import './style.css'\nimport { mount } from 'svelte'\nimport { a } from '../shared/a.ts'`,
      'main/engine/x.ts': `const page = await import('../training/sft.ts')\nimport koffi from 'koffi'`,
      'main/engine/y.ts': `import multi, {\n  line\n} from\n  '../reasoning/grade.ts'`,
      'main/reasoning/grade.ts': `// import fs from 'node:fs'\n/* from 'electron' */\nimport { a } from '../../shared/a.ts'`,
      'main/jobs/run.ts': `import type { X } from '../engine/x.ts'\nconst child = new URL('../engine/x.ts', import.meta.url)`,
      'main/training/sft.ts': `import { e } from '../evaluation/e.ts'\nimport { x } from '../engine/x.ts'`,
      'main/evaluation/e.ts': `import { sft } from '../training/sft.ts'`,
      'main/window/w.ts': `import { app } from "electron"`,
      'main/other.ts': '',
      'main/cli.ts': `import { run } from './commands/program.ts'\nimport { x } from './engine/x.ts'`
    })
    expect(layerBreaches(root)).toEqual([
      'main/cli.ts may not import ./engine/x.ts',
      'main/engine/x.ts may not import ../training/sft.ts',
      'main/engine/y.ts may not import ../reasoning/grade.ts',
      'main/evaluation/e.ts may not import ../training/sft.ts',
      'main/jobs/run.ts may not import ../engine/x.ts',
      'main/jobs/run.ts may not import ../engine/x.ts',
      'main/other.ts belongs to no layer',
      'renderer/App.svelte may not import ../main/jobs/run.ts',
      'shared/a.ts may not import node:fs',
      'shared/b.ts may not import ../main/engine/x.ts'
    ])
  })

  test('takes a package and a longer name for two', () => {
    const root = tree({ 'shared/a.ts': `import { z } from 'zod/mini'\nimport y from 'zodiac'` })
    expect(layerBreaches(root)).toEqual(['shared/a.ts may not import zodiac'])
  })

  test('finds long files, vague names and stray packages', () => {
    const root = tree({
      'main/engine/long.ts': 'line\n'.repeat(11),
      'main/engine/excused.ts': 'line\n'.repeat(20),
      'main/engine/short.ts': 'line\n'.repeat(10),
      'shared/utils.ts': '',
      'main/jobs/helpers/a.ts': `import { app } from 'electron'`,
      'main/window/w.ts': `import { app } from 'electron'`
    })
    expect(tooLong(root, 10, { 'main/engine/excused.ts': 'a table' })).toEqual([
      'main/engine/long.ts has 11 lines, 10 are allowed'
    ])
    expect(vagueNames(root)).toEqual(['main/jobs/helpers/a.ts', 'shared/utils.ts'])
    expect(strayImports(root, 'electron', ['main/window/'])).toEqual(['main/jobs/helpers/a.ts'])
  })

  test('follows imports to what an entry reaches', () => {
    const root = tree({
      'main/cli.ts': `import './a.ts'`,
      'main/a.ts': `import type { T } from './engine/t.ts'\nimport { x } from './engine/x.ts'`,
      'main/engine/x.ts': `import '../a.ts'`,
      'main/engine/t.ts': ''
    })
    expect([...reached(root, 'main/cli.ts')]).toEqual(['main/cli.ts', 'main/a.ts', 'main/engine/x.ts'])
  })

  test('knows only layers that its own rows may name', () => {
    const named = [...Object.values(MAY), ...Object.values(ENTRIES)]
      .flat()
      .filter((name) => /^(shared|renderer|main)/.test(name))
    const files = sourceFiles(SRC)
    expect(named.filter((name) => !(name in MAY) && !files.includes(name))).toEqual([])
  })
})
