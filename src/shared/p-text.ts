/** The p of a test in as many digits as say something: `p < 0.0001`, `p = 0.032`, `p = 0.50`. */
export const pText = (p: number): string =>
  p < 0.0001 ? 'p < 0.0001' : `p = ${p >= 0.1 ? p.toFixed(2) : p.toPrecision(2)}`
