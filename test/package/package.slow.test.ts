/**
 * The package as electron-builder makes it, without Electron: Node itself stands in for Electron's binary, with the bytes in it
 * that fuses are switched by. So the whole of the packaging runs, and what it packed runs as workers do, from its own files
 * alone. The window needs the real binary.
 */
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs' // prettier-ignore
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FuseState, FuseV1Options, getCurrentFuseWire } from '@electron/fuses'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const tool = (name: string): string => join(ROOT, 'node_modules/.bin', name)
const version = (JSON.parse(readFileSync(join(ROOT, 'node_modules/electron/package.json'), 'utf8')) as { version: string }).version // prettier-ignore
type Entry = { readonly files?: Readonly<Record<string, Entry>>; readonly unpacked?: boolean; readonly link?: string }

/** Every file an archive names, with whether it lies beside it: a length at byte 12, that much JSON after it. */
function entriesOf(archive: string): Map<string, Entry> {
  const bytes = readFileSync(archive)
  const walk = (entry: Entry, path: string): [string, Entry][] =>
    entry.files === undefined
      ? [[path, entry]]
      : Object.entries(entry.files).flatMap(([name, one]) => walk(one, path === '' ? name : `${path}/${name}`))
  return new Map(walk(JSON.parse(bytes.toString('utf8', 16, 16 + bytes.readUInt32LE(12))) as Entry, ''))
}

/** Where fuses lie in a binary: this, a version, how many, and one character for each. */
const FUSES = 'dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX\u0001\u0009111111111'

const why =
  process.platform !== 'linux'
    ? 'it is written for Linux'
    : lstatSync(join(ROOT, 'node_modules')).isSymbolicLink()
      ? 'node_modules is a link here, which npm cannot list'
      : null

describe.skipIf(why !== null)(`the packed app${why === null ? '' : ` (skipped: ${why})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'package-'))
  const app = join(folder, 'made/linux-unpacked')
  const archive = join(app, 'resources/app.asar')
  const real = join(app, 'resources/app.asar.unpacked')
  const run = (...args: string[]): string =>
    execFileSync(join(app, 'reasonsmith'), [join(real, 'out/main/cli.js'), ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_PATH: '' }
    })

  beforeAll(() => {
    const electron = join(folder, 'electron')
    mkdirSync(electron)
    copyFileSync(process.execPath, join(electron, 'electron'))
    appendFileSync(join(electron, 'electron'), FUSES, 'latin1')
    chmodSync(join(electron, 'electron'), 0o755)
    writeFileSync(join(electron, 'version'), version)
    for (const name of ['LICENSE', 'LICENSES.chromium.html']) writeFileSync(join(electron, name), '')
    execFileSync(tool('electron-vite'), ['build'], { cwd: ROOT, stdio: 'pipe' })
    const settings = [`-c.electronDist=${electron}`, `-c.directories.output=${join(folder, 'made')}`]
    execFileSync(tool('electron-builder'), ['--config', 'electron-builder.yml', '--linux', 'dir', ...settings], {
      cwd: ROOT,
      stdio: 'pipe'
    })
  }, 600_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('begins where package.json says, with its page, its preload and its base', () => {
    const { main, desktopName } = JSON.parse(readFileSync(join(real, 'package.json'), 'utf8')) as Record<string, string>
    const held = entriesOf(archive)
    const wanted = [main!, 'out/renderer/index.html', 'out/preload/preload.cjs', 'resources/base/base.gguf']
    expect(wanted.filter((path) => !held.has(path))).toEqual([])
    expect(desktopName).toBe('app.reasonsmith.desktop')
  })

  test('has every native library beside the archive', () => {
    const natives = [...entriesOf(archive)].filter(([path]) => /\.(node|so)(\.\d+)*$/.test(path))
    for (const name of ['better-sqlite3', 'koffi', 'node-llama-cpp'])
      expect(natives.some(([path]) => path.includes(name))).toBe(true)
    const packed = natives.filter(([, { unpacked, link }]) => unpacked !== true && link === undefined)
    expect(packed).toEqual([])
    expect(natives.filter(([path]) => !existsSync(join(real, path)))).toEqual([])
  })

  test('has its fuses switched', async () => {
    const wire = await getCurrentFuseWire(join(app, 'reasonsmith'))
    const on = (fuse: FuseV1Options): boolean => wire[fuse] === FuseState.ENABLE
    expect(on(FuseV1Options.OnlyLoadAppFromAsar)).toBe(true)
    expect(on(FuseV1Options.EnableEmbeddedAsarIntegrityValidation)).toBe(true)
    expect(on(FuseV1Options.EnableNodeOptionsEnvironmentVariable)).toBe(false)
    expect(on(FuseV1Options.EnableNodeCliInspectArguments)).toBe(false)
    expect(on(FuseV1Options.RunAsNode)).toBe(true)
  })

  test('its worker computes, and trains the demo, with nothing but what was packed', () => {
    expect(run('doctor', '--threads', '1')).toContain('This machine trains on')
    run('demo', '--short', '--dir', join(folder, 'demo'))
    expect(existsSync(join(folder, 'demo/report.html'))).toBe(true)
  }, 600_000)
})
