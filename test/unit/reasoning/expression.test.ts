import { describe, expect, it } from 'vitest'
import { evaluate } from '../../../src/main/reasoning/expression.ts'
import { fromDecimal, rational, show } from '../../../src/main/reasoning/rational.ts'

describe('the calculator', () => {
  it.each([
    ['1+2*3', '7'],
    ['(1+2)*3', '9'],
    ['8-3-2', '3'],
    ['8/4/2', '1'],
    ['1/3+1/6', '1/2'],
    ['2^3^2', '512'],
    ['-2^2', '-4'],
    ['2^-2', '1/4'],
    ['--3', '3'],
    ['3*-2', '-6'],
    ['2(3+4)', '14'],
    ['(1+1)(2+2)', '8'],
    ['0.1+0.2', '3/10'],
    ['3×4−2÷1', '10'],
    ['2**3', '8'],
    [' 1 + 1 ', '2'],
    ['0^0', '1']
  ])('%s is %s', (text, expected) => {
    const result = evaluate(text)
    expect(result.kind === 'value' ? show(result.value) : result.why).toBe(expected)
  })
  it.each([
    ['', 'empty'],
    ['1+', 'it ends too early'],
    ['1 2', 'unexpected "2"'],
    ['(1', 'unbalanced brackets'],
    ['1)', 'unexpected ")"'],
    ['1/0', 'division by zero'],
    ['0^-1', 'power out of range'],
    ['9^9^9', 'power out of range'],
    ['2^0.5', 'power out of range'],
    ['x+1', 'unexpected "x"'],
    ['process.exit()', 'unexpected ".exit()"'],
    ['1;2', 'unexpected ";2"'],
    ['('.repeat(300), 'nested too deeply'],
    ['1+'.repeat(300), 'too long']
  ])('%j is unreadable: %s', (text, why) => {
    expect(evaluate(text)).toEqual({ kind: 'unreadable', why })
  })
  it('reports the literals in order, and takes one variable', () => {
    expect(evaluate('3*(5+3)')).toMatchObject({ numbers: ['3', '5', '3'], operations: 2 })
    const x = { name: 'x', value: fromDecimal('2.5')! }
    expect(evaluate('3x+2(x-1)-x', x)).toMatchObject({ value: { numerator: 8n, denominator: 1n } })
  })
  it('keeps rationals in lowest terms with a positive denominator', () => {
    expect(rational(6n, -8n)).toEqual({ numerator: -3n, denominator: 4n })
    expect(rational(1n, 0n)).toBeNull()
    expect(fromDecimal('1e99999999')).toBeNull()
    expect(fromDecimal('.')).toBeNull()
  })
})
