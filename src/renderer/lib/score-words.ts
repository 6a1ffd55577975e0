/** What the columns of a score mean: on the heads of every table of scores. k answers were given to each task. */
export const SCORE_HELP = {
  accuracy:
    'Mean over tasks of the share of right answers. The bar is the 95 % interval on a scale from 0 to 100 %, a dot is one run.',
  interval: 'Where the accuracy would lie with other tasks of the same kind, 95 times in 100.',
  best: 'Share of tasks that at least one of the k answers got right.',
  majority: 'Share of tasks whose most frequent answer is right.',
  length: 'Mean tokens of thought and answer together.',
  clipped: 'Share of answers that reached the token limit: a high one hides what the policy can do.',
  unreadable: 'Share of answers in which no result could be read; they count as wrong.'
} as const
