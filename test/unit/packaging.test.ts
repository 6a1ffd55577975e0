/** What a package of the desktop app would hold, as far as it can be told without Electron's binary. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, matchesGlob, relative, sep } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'

const ROOT = join(import.meta.dirname, '../..')
const config = parse(readFileSync(join(ROOT, 'electron-builder.yml'), 'utf8')) as {
  files: string[]
  asarUnpack: string[]
  publish: unknown
  electronFuses: Record<string, boolean>
  linux: { target: string[] }
}
const { main, dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  main: string
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}
const posix = (path: string): string => path.split(sep).join('/')
const matches = (path: string, patterns: readonly string[]): boolean =>
  patterns.some((pattern) => matchesGlob(path, pattern))

/** Folders of every package the app needs to run, those they need among them. */
function runtimePackages(): string[] {
  const npm = join(process.execPath, '..', process.platform === 'win32' ? 'npm.cmd' : 'npm')
  const text = execFileSync(existsSync(npm) ? npm : 'npm', ['ls', '--omit=dev', '--all', '--parseable'], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore']
  })
  return text.split('\n').filter((line) => line.includes(`${sep}node_modules${sep}`))
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

describe('the package', () => {
  test('begins where package.json says, and holds what the program looks for', () => {
    const wanted = [
      main,
      'out/renderer/index.html',
      'out/preload/preload.cjs',
      'resources/base/base.gguf',
      'THIRD_PARTY_NOTICES.md',
      'package.json'
    ]
    for (const path of wanted)
      expect([path, matches(posix(path).replace(/^\.\//, ''), config.files)]).toEqual([path, true])
  })

  test('leaves every native library a real file, and the worker that opens them', () => {
    const unpacked = config.asarUnpack
    expect(matches('out/main/worker.js', unpacked)).toBe(true)
    const native = ['better-sqlite3', 'koffi', 'node-llama-cpp', '@node-llama-cpp']
      .map((name) => join(ROOT, 'node_modules', name))
      .filter(existsSync)
      .flatMap(filesIn)
      .map((file) => posix(relative(ROOT, file)))
      .filter((file) => /\.(node|so|dll|dylib)(\.\d+)*$/.test(file))
    for (const name of ['better-sqlite3', 'node-llama-cpp'])
      expect(native.some((file) => file.includes(name))).toBe(true)
    expect(native.filter((file) => !matches(file, unpacked))).toEqual([])
  })

  test('holds what the host and the worker import, none of it a tool of development only', () => {
    const sources = filesIn(join(ROOT, 'src/main')).filter((file) => file.endsWith('.ts'))
    const imported = new Set(
      sources.flatMap((file) =>
        [
          ...readFileSync(file, 'utf8').matchAll(
            /^import (?!type)[^'"]*from '([^'.][^']*)'|\bimport\('([^'.][^']*)'\)/gm
          )
        ].map((found) => (found[1] ?? found[2])!)
      )
    )
    const packages = [...imported]
      .filter((name) => !name.startsWith('node:') && name !== 'electron')
      .map((name) =>
        name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/')
      )
    expect(packages.filter((name) => !(name in dependencies))).toEqual([])
    expect(packages.filter((name) => name in devDependencies)).toEqual([])
  })

  test('has no native package that would have to be compiled', () => {
    const compiled = runtimePackages().filter(
      (folder) => existsSync(join(folder, 'binding.gyp')) && !existsSync(join(folder, 'prebuilds'))
    )
    expect(compiled).toEqual([])
  })

  test('updates from nowhere and runs no foreign Node options', () => {
    expect(config.publish).toBeNull()
    expect(config.electronFuses).toMatchObject({
      runAsNode: true,
      enableNodeOptionsEnvironmentVariable: false,
      enableNodeCliInspectArguments: false,
      onlyLoadAppFromAsar: true
    })
  })
})

const binary = join(ROOT, 'node_modules/electron/dist', process.platform === 'win32' ? 'electron.exe' : 'electron')
test.skipIf(!existsSync(binary))(
  `the packaged app starts${existsSync(binary) ? '' : ' (skipped: Electron’s binary is not here; `npx install-electron` fetches it)'}`,
  () => {
    const version = execFileSync(binary, ['-p', 'process.versions.electron'], {
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
      encoding: 'utf8'
    })
    expect(version.trim()).toMatch(/^\d+\./)
  }
)
