/**
 * Runs may share a name; a number tells them apart in their order: `Short demo (1)`, `Short demo (2)`. A number that another
 * run bears by its own name is left out, so no two are alike. Pure.
 */
export function distinctNames(names: readonly string[]): string[] {
  const taken = new Set(names)
  return names.map((name) => {
    if (names.filter((other) => other === name).length === 1) return name
    let number = 1
    while (taken.has(`${name} (${number})`)) number++
    taken.add(`${name} (${number})`)
    return `${name} (${number})`
  })
}
