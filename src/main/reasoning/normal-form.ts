/** One spelling for every way to write the same answer: what votes are counted by. */
import { show } from './rational.ts'
import type { Value } from './value.ts'

/** `1,000`, `1000.0` and `$1000$` are `1000`; numbers in a list likewise; expressions stay as they are written. */
export function normalForm(value: Value): string {
  switch (value.kind) {
    case 'number':
      return show(value.value) + (value.percent ? '%' : '')
    case 'list':
      return `${value.brackets[0] ?? ''}${value.items.map(normalForm).join(', ')}${value.brackets[1] ?? ''}`
    case 'expression':
      return value.plain
  }
}
