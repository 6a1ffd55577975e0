/** The fixed questions that every file handed over or taken in is checked with, and what such a check found, in words. */
import type { AdapterAgreement } from '../engine/agreement.ts'
import type { Model } from '../engine/model.ts'
import { dialogueOf, taskMessages } from '../policy/dialogue.ts'

/** Tokens of each greedy answer. */
export const CHECKED_TOKENS = 32
export const QUESTIONS = [
  'Tom has 17 boxes with 23 pencils each and gives 40 pencils away. How many pencils are left?',
  'Solve 3x + 5 = 20 for x.',
  'Which is larger, 7 * 8 or 60 - 5?'
]

/** The questions as the run asked its own, the system message included where the context of the base has room for it. */
export function promptsOf({ vocabulary, config }: Model, system: string): Int32Array[] {
  const room = config.contextLength - CHECKED_TOKENS
  const dialogue = dialogueOf(vocabulary)
  const tokens = (question: string, message: string): Int32Array =>
    vocabulary.hasChatTemplate
      ? dialogue.promptTokens(taskMessages(question, message))
      : vocabulary.tokenize(message === '' ? question : `${message}\n\n${question}`)
  return QUESTIONS.map((question) => {
    const whole = tokens(question, system)
    return whole.length <= room ? whole : tokens(question, '').slice(0, room)
  })
}

/** What comparing a file with the policy's own weights found, in words. */
export function exactSentence({ tokens, sameTokens, largest, mean, baseLargest, bound }: AdapterAgreement): string {
  const numbers = `${sameTokens} of ${tokens} greedy tokens are the same, raw logits differ by at most ${largest.toExponential(1)} (mean ${mean.toExponential(1)}, bound ${bound.toExponential(1)})`
  const kernels = `; untrained, the base differs by ${baseLargest.toExponential(1)} between the two programs' kernels`
  return baseLargest > 0 ? numbers + kernels : numbers
}
