/** Exact rational numbers over bigint: what answers are compared and expressions evaluated in. */

/** `numerator / denominator`, in lowest terms, denominator positive. */
export type Rational = { readonly numerator: bigint; readonly denominator: bigint }

/** Larger powers of ten or of anything else are refused: a grader must not be made to compute 9^9^9. */
export const MAX_EXPONENT = 5000

const gcd = (a: bigint, b: bigint): bigint => {
  let [x, y] = [a < 0n ? -a : a, b]
  while (y !== 0n) [x, y] = [y, x % y]
  return x
}

/** The fraction in lowest terms; null when the denominator is zero. */
export function rational(numerator: bigint, denominator: bigint = 1n): Rational | null {
  if (denominator === 0n) return null
  const sign = denominator < 0n ? -1n : 1n
  const common = gcd(numerator, denominator * sign) * sign
  return { numerator: numerator / common, denominator: denominator / common }
}

export const integer = (value: number | bigint): Rational => ({ numerator: BigInt(value), denominator: 1n })

export const add = (a: Rational, b: Rational): Rational =>
  rational(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator)!
export const negate = (a: Rational): Rational => ({ numerator: -a.numerator, denominator: a.denominator })
export const subtract = (a: Rational, b: Rational): Rational => add(a, negate(b))
export const multiply = (a: Rational, b: Rational): Rational =>
  rational(a.numerator * b.numerator, a.denominator * b.denominator)!
/** null: division by zero. */
export const divide = (a: Rational, b: Rational): Rational | null =>
  rational(a.numerator * b.denominator, a.denominator * b.numerator)

/** base ^ exponent; null when the exponent is no integer, is too large to compute safely, or the result does not exist. */
export function power(base: Rational, exponent: Rational): Rational | null {
  if (exponent.denominator !== 1n) return null
  const size = exponent.numerator < 0n ? -exponent.numerator : exponent.numerator
  const digits = base.numerator.toString().length + base.denominator.toString().length
  if (size > BigInt(MAX_EXPONENT) || Number(size) * digits > 20 * MAX_EXPONENT) return null
  if (exponent.numerator < 0n) return rational(base.denominator ** size, base.numerator ** size)
  return { numerator: base.numerator ** size, denominator: base.denominator ** size }
}

export const same = (a: Rational, b: Rational): boolean =>
  a.numerator === b.numerator && a.denominator === b.denominator
export const absolute = (a: Rational): Rational => (a.numerator < 0n ? negate(a) : a)
export const atMost = (a: Rational, b: Rational): boolean => a.numerator * b.denominator <= b.numerator * a.denominator

/** A decimal such as `-12.50`, `.5`, `3e-4` (no separators) as an exact fraction; null when it is none or too large. */
export function fromDecimal(text: string): Rational | null {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text)
  if (!match) return null
  const [, sign = '', whole = '', part = '', exponent = '0'] = match
  if (whole + part === '' || exponent.replace(/^[+-]/, '').length > 5) return null
  const scale = Number(exponent) - part.length
  if (Math.abs(scale) > MAX_EXPONENT) return null
  const digits = BigInt(whole + part) * (sign === '-' ? -1n : 1n)
  return scale >= 0 ? integer(digits * 10n ** BigInt(scale)) : rational(digits, 10n ** BigInt(-scale))
}

/** `7`, `-3/4`. */
export const show = (a: Rational): string =>
  a.denominator === 1n ? a.numerator.toString() : `${a.numerator}/${a.denominator}`
