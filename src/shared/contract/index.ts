/**
 * Everything a page can ask of the host, in one place: the same contract over a MessagePort (desktop window) and a
 * WebSocket (browser tab). Inputs and outputs are plain JSON, checked by zod on the host's side.
 */
import { app } from './app.ts'
import { datasets } from './datasets.ts'
import { evaluation } from './evaluation.ts'
import { models } from './models.ts'
import { play } from './play.ts'
import { recipes } from './recipes.ts'
import { runs } from './runs.ts'

export const contract = { app, runs, recipes, models, datasets, play, evaluation }
export type Contract = typeof contract
