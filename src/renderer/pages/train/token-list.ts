/** Tokens of a recipe, by id or by text, between the form and the recipe's values. Pure. */
export type TokenName = number | string

/** What the YAML holds; anything else that stands there counts as none, and its own message says what is wrong with it. */
export const readTokens = (value: unknown): readonly TokenName[] =>
  Array.isArray(value)
    ? value.filter((one): one is TokenName => typeof one === 'string' || typeof one === 'number')
    : []

/** A whole number is an id; what stands in quotes is text as it is, digits and spaces among it; null: nothing was typed. */
export function parseToken(typed: string): TokenName | null {
  const text = typed.trim()
  if (/^\d+$/.test(text)) return Number(text)
  const quoted = /^"(.*)"$/s.exec(text)?.[1]
  return (quoted ?? text) || null
}

/** As it is typed again: `5` is the id, `"5"` and `" the"` are texts. */
export const showToken = (token: TokenName): string =>
  typeof token === 'string' && (/^\d+$/.test(token) || token !== token.trim()) ? `"${token}"` : String(token)

export const withToken = (tokens: readonly TokenName[], token: TokenName): TokenName[] => [
  ...tokens.filter((one) => one !== token),
  token
]
