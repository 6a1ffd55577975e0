/** What a package of the desktop app would hold, as far as it can be told without Electron's binary. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, matchesGlob, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { programOf } from '../../src/main/files/program.ts'
import { placeOfFile } from '../../src/main/window/places.ts'

const ROOT = join(import.meta.dirname, '../..')
const config = parse(readFileSync(join(ROOT, 'electron-builder.yml'), 'utf8')) as {
  files: string[]
  asarUnpack: string[]
  publish: unknown
  electronFuses: Record<string, boolean>
  extraMetadata: { desktopName: string }
  icon: string
  appId: string
  fileAssociations: { ext: string; mimeType?: string }[]
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

  test('lets the worker be told that it is a module, and the host find it beside the archive', () => {
    expect(matches('package.json', config.asarUnpack)).toBe(true)
    const unpacked = mkdtempSync(join(tmpdir(), 'package-'))
    const main = join(unpacked, 'app.asar.unpacked/out/main')
    mkdirSync(main, { recursive: true })
    writeFileSync(join(main, 'symbolic-worker.js'), '')
    const from = pathToFileURL(join(unpacked, 'app.asar/out/main/chunks/equality.js')).href
    expect(fileURLToPath(programOf('symbolic-worker', from))).toBe(join(main, 'symbolic-worker.js'))
    rmSync(unpacked, { recursive: true })
  })

  test('leaves out nothing that node-llama-cpp reads at its start', () => {
    const left = config.files.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1))
    const read = ['binariesGithubRelease.json', 'llama.cpp.info.json']
    for (const name of read) {
      const path = `node_modules/node-llama-cpp/llama/${name}`
      expect([path, existsSync(join(ROOT, path)), matches(path, left)]).toEqual([path, true, false])
    }
  })

  test('is known to the desktop: an icon, a name for its windows, files it opens', () => {
    const icon = readFileSync(join(ROOT, config.icon))
    expect([icon.toString('latin1', 1, 4), icon.readUInt32BE(16), icon.readUInt32BE(20)]).toEqual(['PNG', 1024, 1024])
    expect(config.extraMetadata.desktopName).toMatch(/^[a-z.]+$/)
    expect(readFileSync(join(ROOT, 'src/main/window/desktop.ts'), 'utf8')).toContain(`'${config.appId}'`)
    for (const { ext, mimeType } of config.fileAssociations) {
      // Linux knows no association without a media type.
      expect([ext, mimeType]).toEqual([ext, expect.stringMatching(/^application\/[\w-]+$/)])
      expect(placeOfFile(`a.${ext}`)).not.toBeNull()
    }
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
