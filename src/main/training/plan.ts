/** How a recipe's trainer uses memory, decided before anything runs and said in the run's first lines. */
import type { Emit } from '../../shared/event.ts'
import type { Model } from '../engine/model.ts'
import type { TrainerSettings } from '../engine/trainer.ts'

export function planTrainer(
  _model: Model,
  _recipe: { memory_limit_mib?: number | undefined },
  _rowTokens: number,
  _emit: Emit
): TrainerSettings {
  return { keep: 'all', chunkQueries: 128, headRows: 64 }
}
