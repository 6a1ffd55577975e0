/** A model's chat template (Jinja) as a function of messages. */
import { Template } from '@huggingface/jinja'

export type ChatMessage = {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
  readonly reasoning_content?: string
}

export type RenderOptions = { readonly addGenerationPrompt: boolean }
export type Render = (messages: readonly ChatMessage[], options: RenderOptions) => string

/** Compiles a template. Throws what the parser says of a bad one; the function throws what the template itself refuses. */
export function compileTemplate(source: string, tokens: { readonly bos: string; readonly eos: string }): Render {
  const template = new Template(source)
  return (messages, { addGenerationPrompt }) =>
    template.render({
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: addGenerationPrompt,
      bos_token: tokens.bos,
      eos_token: tokens.eos
    })
}

/** Text as a literal inside a template's tags. */
export const templateLiteral = (text: string): string =>
  `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n').replaceAll('\r', '\\r')}'`
