/** Runs may share a name; their place tells them apart: `Short demo (1)`, `Short demo (2)`. Pure. */
export function distinctNames(names: readonly string[]): string[] {
  return names.map((name, i) => {
    if (names.filter((other) => other === name).length === 1) return name
    return `${name} (${names.slice(0, i + 1).filter((other) => other === name).length})`
  })
}
