/** A reward taken apart: the same functions GRPO rewards by, with the numbers that went through them. */
import type { RewardExplanation } from '../../shared/contract/play.ts'
import type { RewardSettings } from '../../shared/recipe.ts'
import type { Task } from '../../shared/task.ts'
import { readValue } from '../reasoning/value.ts'
import type { Comparison, Symbolic } from '../reasoning/equality.ts'
import { accuracyByLength, resolveReward, scoreReward } from '../reasoning/reward.ts'
import type { ResolvedReward, ScoredReward } from '../reasoning/reward.ts'
import { parseTaggedText } from '../reasoning/trace.ts'
import { explainJudgementWith } from '../reasoning/verdict.ts'

export type RewardRequest = {
  readonly completion: string
  readonly solution: string
  readonly check?: Task['check']
  readonly tokens?: readonly string[] | undefined
  readonly lengthTokens?: number | undefined
  readonly max_completion_length: number
  readonly ended: boolean
  readonly reward: RewardSettings
  readonly openThink: string
  readonly closeThink: string
}

const CURVE_POINTS = 128

export async function explainReward(asked: RewardRequest, symbolic: Symbolic): Promise<RewardExplanation> {
  const settings = resolveReward(asked.reward, asked.max_completion_length)
  const trace = parseTaggedText(asked.completion, { open: asked.openThink, close: asked.closeThink })
  const check = asked.check ?? { kind: 'equal' }
  const task: Task = { id: '', source: '', prompt: '', solution: asked.solution, check }
  const { verdict, extraction, comparison } = await explainJudgementWith(task, trace.answer, symbolic)

  // Where the tokens are not known, words and signs stand for them; a length that is given holds for the cosine.
  const pieces = numbered(asked.tokens ?? asked.completion.match(WORDS_AND_SIGNS) ?? [])
  const counted = asked.tokens === undefined ? 'words and signs' : 'tokens'
  const length = asked.lengthTokens ?? pieces.length
  const response = {
    correct: verdict.kind === 'correct',
    complete: asked.ended,
    wellFormed: trace.kind === 'well-formed'
  }
  const { repetition, weightedRepetition } = scoreReward({ ...response, tokens: pieces }, settings)
  const byLength = scoreReward({ ...response, tokens: Array.from({ length }, (_, i) => i) }, settings)
  return {
    thinking: trace.kind === 'well-formed' ? trace.thinking : null,
    answer: trace.answer === '' ? null : trace.answer,
    malformed: trace.kind === 'malformed' ? trace.why : null,
    extracted:
      extraction.kind === 'answer'
        ? { value: extraction.raw, by: extraction.by }
        : { value: null, by: `nothing found: ${extraction.why}` },
    equality:
      check.kind === 'family'
        ? [
            {
              step: `the rule of ${check.family}`,
              left: asked.solution,
              right: extraction.kind === 'answer' ? extraction.raw : trace.answer,
              outcome: `${verdict.kind}: any answer that keeps the task's rule is right, not only the known one`
            }
          ]
        : stepsOf(comparison, asked.solution, extraction.kind === 'answer' ? extraction.raw : ''),
    verdict: verdict.kind === 'unreadable' ? `unreadable: ${verdict.why}` : verdict.kind,
    lengthTokens: length,
    components: [
      accuracyPart(byLength, settings),
      {
        name: 'repetition',
        formula: '−max(repeated n-grams / n-grams, most frequent / (length / n)), 0 when none is repeated too often',
        numbers:
          `${settings.ngram}-grams over ${pieces.length} ${counted}: ${repetition.repeatedTypes} of ` +
          `${repetition[settings.repetitionDenominator]} occur more than ${settings.ngramThreshold} times, the most frequent ` +
          `${repetition.maxCount} times; terms ${round(repetition.term1)} and ${round(repetition.term2)}`,
        score: repetition.value,
        weight: settings.weightRepetition
      }
    ],
    reward: byLength.weightedAccuracy + weightedRepetition,
    override: byLength.override === null ? null : OVERRIDES[byLength.override],
    curve: curveOf(settings, asked.max_completion_length)
  }
}

const OVERRIDES: Readonly<Record<NonNullable<ScoredReward['override']>, string>> = {
  incomplete: 'the response did not end by itself: its accuracy reward is −0.5 whatever it says',
  'bad thought': 'the thought is not well-formed: its accuracy reward is −1 whatever it says'
}

function accuracyPart(
  { length, rho, accuracyByLength: value, accuracyScaled, accuracyRaw }: ScoredReward,
  { lMax, lPosControl, lNegControl, weightAccuracy }: ResolvedReward
): RewardExplanation['components'][number] {
  const right = accuracyRaw === 1
  return {
    name: 'accuracy',
    formula: right
      ? '0.5 + 0.25 · (1 + cos πρ), ρ = min(1, max(L − L_pos, 0) / (L_max − L_pos))'
      : '−0.5 − 0.25 · (1 + cos πρ), ρ = min(1, L / L_neg)',
    numbers:
      (right
        ? `L ${length}, L_pos ${lPosControl}, L_max ${lMax}, ρ ${round(rho)}`
        : `L ${length}, L_neg ${lNegControl}, ρ ${round(rho)}`) + `, by length ${round(value)}`,
    score: accuracyScaled,
    weight: weightAccuracy
  }
}

function stepsOf(comparison: Comparison | null, gold: string, answer: string): RewardExplanation['equality'] {
  const plain = (text: string): string => {
    const value = readValue(text)
    return value.kind === 'unreadable' ? text : value.plain
  }
  return (comparison?.steps ?? []).map(({ step, outcome, because }) => ({
    step,
    left: plain(gold),
    right: plain(answer),
    outcome: `${outcome}: ${because}`
  }))
}

function curveOf(settings: ResolvedReward, limit: number): RewardExplanation['curve'] {
  const end = Math.max(limit, settings.lMax)
  const length = Array.from({ length: CURVE_POINTS + 1 }, (_, i) => Math.round((i * end) / CURVE_POINTS))
  const by = (correct: boolean): number[] => length.map((at) => accuracyByLength(correct, at, settings).value)
  return { length, correct: by(true), wrong: by(false) }
}

const WORDS_AND_SIGNS = /[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu

/** Texts as numbers, equal ones alike. */
function numbered(texts: readonly string[]): number[] {
  const known = new Map<string, number>()
  return texts.map((text) => {
    const id = known.get(text) ?? known.size
    known.set(text, id)
    return id
  })
}

const round = (value: number): string => String(Number(value.toFixed(4)))
