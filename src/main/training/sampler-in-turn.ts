/** Sampling and training on a device that has no room for both at once: each gives its memory to the other. */
import type { DecoderSettings } from '../engine/decoder.ts'
import type { Model } from '../engine/model.ts'
import { Sampler } from '../engine/sampler.ts'
import type { Trainer } from '../engine/trainer.ts'

/**
 * A sampler that is there while it samples: the trainer's activations are given back before, its caches after. The trainer
 * takes what it needs again by itself.
 */
export const samplerInTurn = (
  model: Model,
  settings: DecoderSettings,
  trainer: Pick<Trainer, 'release'>
): Pick<Sampler, 'generate'> => ({
  async generate(requests, options) {
    trainer.release()
    const sampler = new Sampler(model, settings)
    try {
      return await sampler.generate(requests, options)
    } finally {
      sampler.dispose()
    }
  }
})
