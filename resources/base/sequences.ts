/** From marked text to tokens with a mask. */
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import type { Vocabulary } from '../../src/main/engine/vocabulary.ts'
import type { Random } from '../../src/shared/random.ts'

/** Share of the tokens outside « » that are learned too, so that the model knows the language of the questions. */
const READ_SHARE = 0.05

/** A document as a training sequence. A token counts where its first byte lies between « and ». */
export function toSequence(vocabulary: Vocabulary, document: string, random: Random): TrainSequence {
  const counted: boolean[] = []
  document.split(/[«»]/).forEach((part, i) => {
    for (let byte = Buffer.byteLength(part); byte > 0; byte--) counted.push(i % 2 === 1)
  })
  const tokens = vocabulary.tokenize(document.replace(/[«»]/g, ''), { special: true })
  const mask = new Uint8Array(tokens.length)
  let at = 0
  tokens.forEach((token, i) => {
    mask[i] = counted[at] || random.next() < READ_SHARE ? 1 : 0
    at += vocabulary.piece(token).length
  })
  mask[0] = 0
  return { tokens, mask }
}

/** Only what stands between « and » counts: for measuring. */
export function toMeasured(vocabulary: Vocabulary, document: string): TrainSequence {
  return toSequence(vocabulary, document, { next: () => 1 } as Random)
}
