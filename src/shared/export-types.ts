/** The types a merged model can be written in, by llama.cpp's names. */

/** What base and adapter are merged in. */
export const MERGE_TYPES = ['F16', 'BF16', 'F32'] as const
export type MergeType = (typeof MERGE_TYPES)[number]

/** What a merged model can be quantised to without an importance matrix, from the nearest to the smallest. */
export const QUANTIZATIONS = [
  'Q8_0',
  'Q6_K',
  'Q5_K_M',
  'Q5_K_S',
  'Q5_1',
  'Q5_0',
  'Q4_K_M',
  'Q4_K_S',
  'Q4_1',
  'Q4_0',
  'Q3_K_L',
  'Q3_K_M',
  'Q3_K_S',
  'Q2_K'
] as const
export type Quantization = (typeof QUANTIZATIONS)[number]
