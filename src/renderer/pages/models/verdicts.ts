/** What a model's facts mean, as a word and a tone. Pure. */
import { bytes } from '../../lib/format.ts'
import type { Tone } from '../../lib/run-words.ts'
import type { ModelFile } from '../../../shared/contract/types.ts'

export type Said = { readonly word: string; readonly tone: Tone; readonly why: string }

export function supportSaid({ support, problem }: ModelFile): Said {
  if (problem !== null) return { word: 'not readable', tone: 'wrong', why: problem }
  return support.trainable
    ? { word: 'trains', tone: 'correct', why: support.reason }
    : { word: 'only answers', tone: 'warn', why: support.reason }
}

const FITS: Readonly<Record<ModelFile['fits']['verdict'], { word: string; tone: Tone }>> = {
  fits: { word: 'fits', tone: 'correct' },
  tight: { word: 'tight', tone: 'warn' },
  no: { word: 'too large', tone: 'wrong' },
  unknown: { word: 'unknown', tone: 'plain' }
}

/** With a rank-16 adapter at 2,048 tokens, which is what the host plans for. */
export function fitsSaid({ fits }: ModelFile): Said {
  const need = fits.needBytes === null ? 'The need is not known.' : `Needs about ${bytes(fits.needBytes)}`
  return {
    ...FITS[fits.verdict],
    why: fits.needBytes === null ? need : `${need} with a rank-16 adapter at 2,048 tokens.`
  }
}

export const templateSaid = ({ template }: ModelFile): Said => ({
  word: template.present ? 'template' : 'no template',
  tone: template.present ? 'plain' : 'warn',
  why: template.verdict
})
