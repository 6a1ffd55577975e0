/**
 * The base's own tokenizer: a byte-level BPE in the form llama.cpp calls `gpt2` with the `smollm` splitting rule (every
 * digit alone). Only words (with the space before them) and ` =`-like signs are merged, so that arithmetic always falls
 * into the same tokens: digits, signs and brackets one by one.
 */
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'

export const CONTROL_TOKENS: readonly string[] = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_sep|>',
  '<|im_end|>',
  ...Array.from({ length: 8 }, (_, i) => `<|dummy_${i}|>`)
]

/** The ChatML form of Phi-4, without its line breaks. */
export const CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"

const TOKEN_TYPE = { normal: 1, control: 3 } as const

export type Tokenizer = {
  /** Token texts in llama.cpp's byte alphabet; the control tokens come first. */
  readonly tokens: readonly string[]
  readonly types: readonly number[]
  readonly merges: readonly string[]
}

/** GPT-2's printable stand-ins of the 256 bytes: printable ones stand for themselves, the rest from U+0100 on. */
export const BYTE_ALPHABET: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255)
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++))
})()

const toAlphabet = (text: string): string[] => [...Buffer.from(text, 'utf8')].map((byte) => BYTE_ALPHABET[byte]!)

/** What the `smollm` rule makes of a text (`llama-vocab.cpp`): digits alone, then GPT-2's words. */
const WORDS = /\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu
/** Words worth merging: letters, or a space and one sign. */
const MERGED = /^( ?[A-Za-z]+| [^\sA-Za-z0-9])$/

/** The most frequent pair is merged until `size` tokens are reached or no pair occurs `least` times; ties by text. */
export function trainTokenizer(texts: Iterable<string>, size: number, least: number): Tokenizer {
  const counts = new Map<string, number>()
  for (const text of texts) {
    for (const [word] of text.matchAll(WORDS)) if (MERGED.test(word)) counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  const words = [...counts].map(([word, count]) => ({ symbols: toAlphabet(word), count }))
  const merges: string[] = []
  while (CONTROL_TOKENS.length + 256 + merges.length < size) {
    const best = mostFrequentPair(words)
    if (!best || best.count < least) break
    merges.push(best.pair)
    for (const word of words) word.symbols = merged(word.symbols, best.pair)
  }
  const tokens = [...CONTROL_TOKENS, ...BYTE_ALPHABET, ...merges.map((pair) => pair.replace(' ', ''))]
  const types = tokens.map((_, i) => (i < CONTROL_TOKENS.length ? TOKEN_TYPE.control : TOKEN_TYPE.normal))
  return { tokens, types, merges }
}

type Word = { symbols: string[]; readonly count: number }

function mostFrequentPair(words: readonly Word[]): { pair: string; count: number } | null {
  const pairs = new Map<string, number>()
  for (const { symbols, count } of words) {
    for (let i = 1; i < symbols.length; i++) {
      const pair = `${symbols[i - 1]} ${symbols[i]}`
      pairs.set(pair, (pairs.get(pair) ?? 0) + count)
    }
  }
  let best: { pair: string; count: number } | null = null
  for (const [pair, count] of pairs) {
    if (!best || count > best.count || (count === best.count && pair < best.pair)) best = { pair, count }
  }
  return best
}

function merged(symbols: readonly string[], pair: string): string[] {
  const out: string[] = []
  for (const symbol of symbols) {
    if (out.length > 0 && `${out.at(-1)} ${symbol}` === pair) out.push(out.pop()! + symbol)
    else out.push(symbol)
  }
  return out
}

/** The tokenizer as GGUF metadata. */
export function tokenizerValues({ tokens, types, merges }: Tokenizer): Record<string, GgufValue> {
  const id = (name: string): GgufValue => ({ kind: 'u32', value: tokens.indexOf(name) })
  return {
    'tokenizer.ggml.model': { kind: 'text', value: 'gpt2' },
    'tokenizer.ggml.pre': { kind: 'text', value: 'smollm' },
    'tokenizer.ggml.tokens': { kind: 'texts', value: tokens },
    'tokenizer.ggml.token_type': { kind: 'i32s', value: types },
    'tokenizer.ggml.merges': { kind: 'texts', value: merges },
    'tokenizer.ggml.bos_token_id': id('<|endoftext|>'),
    'tokenizer.ggml.eos_token_id': id('<|im_end|>'),
    'tokenizer.ggml.padding_token_id': id('<|endoftext|>'),
    'tokenizer.ggml.add_bos_token': { kind: 'bool', value: false },
    'tokenizer.chat_template': { kind: 'text', value: CHAT_TEMPLATE }
  }
}
