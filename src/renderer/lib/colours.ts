/** The tokens as canvas and terminals need them: values, not variables. */
export const token = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

/** The nth colour of a chart; the palette repeats after eight. */
export const seriesToken = (n: number): string => `series-${(n % 8) + 1}`
export const seriesColour = (n: number): string => token(seriesToken(n))
