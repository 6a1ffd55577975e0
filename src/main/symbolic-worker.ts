/** Child entry of the symbolic step: answers one pair at a time over Node's own channel. Killed when it takes too long. */
import type { Outcome } from './reasoning/equality.ts'
import { symbolicComparer } from './reasoning/symbolic.ts'

const compare = symbolicComparer()
compare('\\frac{x}{2} + \\sqrt{8}', '0.5x + 2\\sqrt{2}') // the first comparison loads the engine's tables: before any clock runs

process.on('message', ({ id, gold, answer }: { id: number; gold: string; answer: string }) => {
  let outcome: Outcome = 'undecided'
  try {
    outcome = compare(gold, answer)
  } catch {
    // the engine throws on some of what a model can write: that decides nothing
  }
  process.send?.({ id, outcome })
})
process.on('disconnect', () => process.exit(0))
process.send?.({ id: 0 })
