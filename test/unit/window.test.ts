import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { placeOfArguments, placeOfFile } from '../../src/main/window/places.ts'
import { reloadLimit } from '../../src/main/window/reload-limit.ts'
import { keepWindowState, readWindowState } from '../../src/main/window/window-state.ts'

const folder = mkdtempSync(join(tmpdir(), 'window-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('where the window was', () => {
  const file = join(folder, 'window.json')
  const screen = { x: 0, y: 0, width: 1920, height: 1080 }
  const nowhere = { bounds: null, maximized: false }
  test('comes back', () => {
    const state = { bounds: { x: 10, y: 20, width: 1300, height: 900 }, maximized: true }
    keepWindowState(file, state)
    expect(readWindowState(file, [screen])).toEqual(state)
  })
  test('is forgotten when no screen shows it any more', () => {
    keepWindowState(file, { bounds: { x: 2500, y: 20, width: 1300, height: 900 }, maximized: false })
    expect(readWindowState(file, [screen])).toEqual(nowhere)
    expect(readWindowState(file, [screen, { ...screen, x: 1920 }]).bounds?.x).toBe(2500)
  })
  test.each(['', '{', '[]', '{"bounds":{"x":"a"}}'])('survives a file of %j', (text) => {
    writeFileSync(file, text)
    expect(readWindowState(file, [screen])).toEqual(nowhere)
  })
  test('survives no file', () => expect(readWindowState(join(folder, 'none'), [screen])).toEqual(nowhere))
})

describe('a file that is opened', () => {
  test.each([
    ['base.GGUF', '#/models', { model: resolve('base.GGUF') }],
    ['sft.yaml', '#/train', { file: resolve('sft.yaml') }],
    ['rows.jsonl', '#/datasets', { import: resolve('rows.jsonl'), as: 'rows.jsonl' }],
    ['/far/a b.csv', '#/datasets', { import: resolve('/far/a b.csv'), as: 'a b.csv' }]
  ])('%s leads to %s', (name, page, query) =>
    expect(placeOfFile(name)).toBe(`${page}?${new URLSearchParams(query).toString()}`)
  )
  test('as an address, the way file managers hand it over', () => {
    const path = join(folder, 'a 100 % base.gguf')
    expect(placeOfFile(pathToFileURL(path).href)).toBe(placeOfFile(path))
    expect(placeOfFile('https://far.away/base.gguf')).toBeNull()
    expect(placeOfArguments(['/opt/app', pathToFileURL(path).href])).toBe(placeOfFile(path))
  })
  test('of another kind leads nowhere', () => expect(placeOfFile('a.exe')).toBeNull())
  test('is found among arguments', () => {
    expect(placeOfArguments(['electron', '--flag', 'a.yaml'])).toContain('#/train?file=')
    expect(placeOfArguments(['electron', '--file=a.yaml'])).toBeNull()
    expect(placeOfArguments(['base.gguf'])).toBeNull()
  })
  test('lies where the second instance was called, not where the first one runs', () =>
    expect(placeOfArguments(['app', 'a.yaml'], '/elsewhere')).toBe(placeOfFile(resolve('/elsewhere/a.yaml'))))
})

test('a page that died is loaded again three times in a minute, and again later', () => {
  let now = 0
  const may = reloadLimit(() => now)
  expect([may(), may(), may(), may()]).toEqual([true, true, true, false])
  now = 61_000
  expect(may()).toBe(true)
})
