/** Text to tokens and back, with the model's own vocabulary, and its chat template. */
import { AppError } from '../../shared/errors.ts'
import { compileTemplate } from './chat-template.ts'
import type { ChatMessage, Render, RenderOptions } from './chat-template.ts'
import type { Native } from './ffi/libraries.ts'
import type { Pointer } from './ffi/structs.ts'
import type { GgufInfo } from './gguf.ts'

export type { ChatMessage } from './chat-template.ts'

/** Metadata by which a prepared base says how it thinks; see `prepare`. */
export const PREPARED_KEYS = {
  open: 'reasonsmith.think_open',
  close: 'reasonsmith.think_close',
  systemMessage: 'reasonsmith.system_message'
} as const

export class Vocabulary {
  readonly size: number
  readonly bos: number
  /** What ends an assistant's turn: the file's end token (llama.cpp's own `eot` guess differs for some chat models). */
  readonly eos: number
  readonly addBos: boolean
  /** What a prepared base was prepared with; undefined in other files. */
  readonly prepared: { readonly [K in keyof typeof PREPARED_KEYS]: string | undefined }
  /** The source of the chat template, as the file has it. */
  readonly template: string | undefined
  readonly #native: Native
  readonly #handle: Pointer
  readonly #pieces = new Map<number, Uint8Array>()
  readonly #ends = new Map<number, boolean>()
  readonly #render: Render | null
  readonly #path: string

  constructor(native: Native, handle: Pointer, info: GgufInfo) {
    const { llama } = native
    this.#native = native
    this.#handle = handle
    this.#path = info.path
    this.size = llama.vocab_n_tokens(handle)
    this.bos = llama.vocab_bos(handle)
    this.eos = llama.vocab_eos(handle)
    this.addBos = llama.vocab_get_add_bos(handle)
    this.prepared = {
      open: info.text(PREPARED_KEYS.open),
      close: info.text(PREPARED_KEYS.close),
      systemMessage: info.text(PREPARED_KEYS.systemMessage)
    }
    this.template = info.text('tokenizer.chat_template')
    const source = this.template
    this.#render = source === undefined ? null : this.#ofTemplate('cannot be read', () => this.renderer(source))
  }

  /** Another template over this vocabulary's tokens. */
  renderer(source: string): Render {
    const nameOf = (token: number): string => (token >= 0 ? this.text(token) : '')
    return compileTemplate(source, { bos: nameOf(this.bos), eos: nameOf(this.eos) })
  }

  /** Tokens of a text; with `special`, names of special tokens in it become those tokens. No BOS is added. */
  tokenize(text: string, options: { special?: boolean } = {}): Int32Array {
    const bytes = Buffer.byteLength(text)
    const out = new Int32Array(bytes + 8)
    const count = this.#native.llama.tokenize(
      this.#handle,
      text,
      bytes,
      out,
      out.length,
      false,
      options.special ?? false
    )
    if (count < 0) throw new Error(`tokenization needs ${-count} tokens for ${bytes} bytes`)
    return out.slice(0, count)
  }

  /** The bytes of one token; special tokens give their name. */
  piece(token: number): Uint8Array {
    const known = this.#pieces.get(token)
    if (known) return known
    let out = new Uint8Array(64)
    let count = this.#native.llama.token_to_piece(this.#handle, token, out, out.length, 0, true)
    if (count < 0) {
      out = new Uint8Array(-count)
      count = this.#native.llama.token_to_piece(this.#handle, token, out, out.length, 0, true)
    }
    const piece = out.slice(0, count)
    this.#pieces.set(token, piece)
    return piece
  }

  /** The text of a run of tokens (bytes joined first, so that a character split over tokens survives). */
  decode(tokens: Iterable<number>): string {
    return Buffer.concat([...tokens].map((token) => this.piece(token))).toString('utf8')
  }

  text(token: number): string {
    return this.#native.llama.vocab_get_text(this.#handle, token)
  }

  isEndOfGeneration(token: number): boolean {
    const known = this.#ends.get(token) // asked for every token that is sampled
    if (known !== undefined) return known
    const ends = this.#native.llama.vocab_is_eog(this.#handle, token)
    this.#ends.set(token, ends)
    return ends
  }

  /** The id of a token by its exact text, when the vocabulary has it as one special token. */
  specialToken(name: string): number | null {
    const tokens = this.tokenize(name, { special: true })
    return tokens.length === 1 && this.text(tokens[0]!) === name ? tokens[0]! : null
  }

  get hasChatTemplate(): boolean {
    return this.#render !== null
  }

  /** Renders messages through the model's own chat template. Throws AppError('model') where there is none or it fails. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string {
    const render = this.#render
    if (!render)
      throw new AppError('model', `${this.#path}: the file has no chat template`, 'Choose an instruction-tuned base.')
    return this.#ofTemplate('refuses these messages', () => render(messages, options))
  }

  /** The template language's own errors as one sentence that names the file. */
  #ofTemplate<T>(how: string, work: () => T): T {
    try {
      return work()
    } catch (cause) {
      throw new AppError(
        'model',
        `${this.#path}: its chat template (tokenizer.chat_template) ${how}: ${(cause as Error).message}`,
        'Set system_message to "" where the template knows no system message, or choose a base with another template.',
        { cause }
      )
    }
  }
}
