/** Whether two models read and write the same tokens, by their headers. */
import type { GgufInfo } from './gguf.ts'

const SINGLE = ['tokenizer.ggml.model', 'tokenizer.ggml.pre']
/** What begins and ends texts. */
const NUMBERS = ['tokenizer.ggml.bos_token_id', 'tokenizer.ggml.eos_token_id', 'tokenizer.ggml.eot_token_id']
const LISTS = ['tokenizer.ggml.merges', 'tokenizer.ggml.scores', 'tokenizer.ggml.token_type']

/** Null where they are the same; else the first thing that differs, as `other` has it against `first`. */
export function vocabularyDifference(first: GgufInfo, other: GgufInfo): string | null {
  const [tokens, theirs] = [first, other].map((info) => info.list('tokenizer.ggml.tokens') ?? [])
  if (tokens!.length !== theirs!.length) return `it has ${theirs!.length} tokens, not ${tokens!.length}`
  const at = tokens!.findIndex((token, i) => token !== theirs![i])
  if (at >= 0) return `its token ${at} is ${JSON.stringify(theirs![at])}, not ${JSON.stringify(tokens![at])}`
  const key =
    SINGLE.find((name) => first.text(name) !== other.text(name)) ??
    NUMBERS.find((name) => first.number(name) !== other.number(name)) ??
    LISTS.find((name) => !sameList(first.list(name), other.list(name)))
  return key === undefined ? null : `its ${key} is another`
}

const sameList = (a: readonly unknown[] = [], b: readonly unknown[] = []): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i])
