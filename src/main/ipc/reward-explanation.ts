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
  const task: Task = { id: '', source: '', prompt: '', solution: asked.solution, check: { kind: 'equal' } }
  const { verdict, extraction, comparison } = await explainJudgementWith(task, trace.answer, symbolic)

  // Without a vocabulary, words and signs stand for tokens; a length that is given holds for the cosine.
  const pieces = piecesOf(asked.completion)
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
    equality: stepsOf(comparison, asked.solution, extraction.kind === 'answer' ? extraction.raw : ''),
    verdict: verdict.kind === 'unreadable' ? `unreadable: ${verdict.why}` : verdict.kind,
    lengthTokens: length,
    components: [
      accuracyPart(byLength, settings),
      {
        name: 'repetition',
        formula: '−max(repeated n-grams / n-grams, most frequent / (length / n)), 0 when none is repeated too often',
        numbers:
          `${settings.ngram}-grams over ${pieces.length} words and signs: ${repetition.repeatedTypes} of ` +
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

/** Words and signs as numbers, equal ones alike. */
function piecesOf(text: string): number[] {
  const known = new Map<string, number>()
  return (text.match(/[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? []).map((piece) => {
    const id = known.get(piece) ?? known.size
    known.set(piece, id)
    return id
  })
}

const round = (value: number): string => String(Number(value.toFixed(4)))
