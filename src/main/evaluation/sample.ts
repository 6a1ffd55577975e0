/** One answer as it is sampled, for a person who watches: the thought, then the answer. */
import { AppError } from '../../shared/errors.ts'
import type { JobFunction, JobInput } from '../../shared/worker-contract.ts'
import { loadAdapter } from '../engine/adapter.ts'
import { Held } from '../engine/ffi/owned.ts'
import { loadModel } from '../engine/model.ts'
import { openDevice } from '../engine/open-device.ts'
import { Sampler } from '../engine/sampler.ts'
import { dialogueOf, opensThought, taskMessages } from '../policy/dialogue.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import { thoughtStream } from './thought-stream.ts'
import type { Part } from './thought-stream.ts'

export const runSample: JobFunction<'sample'> = async (input, { emit, signal }) => {
  emit({ kind: 'phase', name: 'loading' })
  const held = new Held()
  try {
    const backend = held.own(await openDevice({ device: input.device, threads: input.threads, emit }))
    const model = held.own(await loadModel(input.model, backend, { packed: true }))
    const adapter = input.adapter === undefined ? null : held.own(await loadAdapter(model, input.adapter))
    const { vocabulary } = model
    const dialogue = dialogueOf(vocabulary)
    const note = (text: string): void => emit({ kind: 'log', level: 'info', text })
    if (!vocabulary.hasChatTemplate) note('the base has no chat template: the prompt is continued as plain text')
    const prompt = promptTokens(input, dialogue)
    const room = model.config.contextLength - prompt.length
    if (room < 1) {
      throw new AppError(
        'usage',
        `the prompt has ${prompt.length} tokens, the context of the base ${model.config.contextLength}`,
        'Shorten it.'
      )
    }
    const maxTokens = Math.min(input.max_completion_length, room)
    if (maxTokens < input.max_completion_length) note(`the context of the base leaves ${maxTokens} tokens to answer in`)
    const sampler = held.own(new Sampler(model, { width: 1, contextTokens: prompt.length + maxTokens }))

    const text: Record<Part, string> = { thinking: '', answer: '' }
    const pass = (part: Part, piece: string): void => {
      text[part] += piece
      emit({ kind: 'text', part, text: piece })
    }
    const stream = thoughtStream(dialogue, pass, opensThought(prompt, dialogue) ? 'thinking' : 'answer')
    const onToken = (_request: number, _member: number, token: number): void => {
      if (!vocabulary.isEndOfGeneration(token)) stream.token(token, vocabulary.piece(token))
    }
    emit({ kind: 'phase', name: 'answering' })
    const started = performance.now()
    const { groups, seconds } = await sampler.generate([{ prompt, seeds: [String(input.seed)] }], {
      sampling: input.sampling,
      maxTokens,
      adapter,
      signal,
      onToken
    })
    stream.end()
    const { tokens, stop } = groups[0]![0]!
    const perSecond = tokens.length / Math.max(1e-3, (performance.now() - started) / 1000 - seconds.prefill)
    const how = stop === 'eos' ? 'ended by itself' : `cut off at ${maxTokens} tokens`
    return {
      lines: [
        '',
        `${tokens.length} tokens after a prompt of ${prompt.length}, ${perSecond.toFixed(1)} tokens/s, ${how}`
      ],
      ...text,
      stop,
      tokens: tokens.length,
      prompt_tokens: prompt.length,
      tokens_per_second: perSecond
    }
  } finally {
    held.dispose()
  }
}

function promptTokens(
  input: JobInput<'sample'>,
  { vocabulary, systemMessage, promptTokens: render }: Dialogue
): Int32Array {
  if (vocabulary.hasChatTemplate) {
    return render(taskMessages(input.prompt, input.system_message ?? systemMessage))
  }
  const text = input.system_message === undefined ? input.prompt : `${input.system_message}\n\n${input.prompt}`
  return Int32Array.from([...(vocabulary.addBos ? [vocabulary.bos] : []), ...vocabulary.tokenize(text)])
}
