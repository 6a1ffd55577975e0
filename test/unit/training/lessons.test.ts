import { expect, test } from 'vitest'
import { SftRecipe } from '../../../src/shared/recipe.ts'
import { stepsOf } from '../../../src/main/training/lessons.ts'

const recipe = (more: object): SftRecipe =>
  SftRecipe.parse({ kind: 'sft', base: 'b', output_dir: 'o', train: 't', ...more })

test('a run passes over the lessons as often as num_train_epochs says, whatever the last batch of a pass holds', () => {
  expect(stepsOf(320, recipe({ num_train_epochs: 2 }))).toBe(20)
  expect(stepsOf(33, recipe({ num_train_epochs: 2 }))).toBe(3) // 66 lessons in batches of 32, not four full batches
  expect(stepsOf(33, recipe({ num_train_epochs: 10 }))).toBe(11)
  expect(stepsOf(3, recipe({ num_train_epochs: 0.1 }))).toBe(1)
  expect(stepsOf(320, recipe({ max_steps: 7 }))).toBe(7)
})
