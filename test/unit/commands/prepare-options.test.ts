import { resolve } from 'node:path'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { prepareInput, PREPARE_OPTIONS } from '../../../src/main/commands/prepare-options.ts'
import { JOB_INPUTS } from '../../../src/shared/worker-contract.ts'

function inputOf(...args: readonly string[]): unknown {
  const command = new Command('prepare <base>').argument('<base>').exitOverride()
  for (const option of PREPARE_OPTIONS) command.addOption(option)
  command.configureOutput({ writeErr: () => undefined }).parse(args, { from: 'user' })
  return JOB_INPUTS.prepare.parse(prepareInput(command.args[0]!, command.opts()))
}

test('the shortest call takes the usual tags and writes beside the base', () => {
  expect(inputOf('models/a.gguf', '--think', '--context', '32768')).toEqual({
    base: resolve('models/a.gguf'),
    to: resolve('models/a-prepared.gguf'),
    think: true,
    like: ['think', 'answer'],
    context: 32768,
    f32: false,
    force: false
  })
})

test('every option arrives', () => {
  const args = ['a.gguf', '--think', '[T]', '[/T]', '--like', 'Hm', 'So', '--rope-factor', '2.5', '--to', 'b.gguf']
  expect(inputOf(...args, '--system-message', '', '--f32', '--text', 't.txt', '--force')).toEqual({
    base: resolve('a.gguf'),
    to: resolve('b.gguf'),
    think: ['[T]', '[/T]'],
    like: ['Hm', 'So'],
    rope_factor: 2.5,
    system_message: '',
    f32: true,
    text: resolve('t.txt'),
    force: true
  })
})

test.each([
  [['a.gguf', '--think', 'one'], /--think takes two values, 1 were given/],
  [['a.gguf', '--like', 'x', 'y', 'z'], /--like takes two values, 3 were given/],
  [['a.gguf', '--context', '1.5'], /whole number/],
  [['a.gguf', '--rope-factor', '0'], /above 0/]
])('%o is refused', (args, said) => {
  expect(() => inputOf(...args)).toThrow(said)
})
