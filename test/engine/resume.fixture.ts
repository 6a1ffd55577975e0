/** A short run in a process of its own, so that a test can kill it: `node resume.fixture.ts KIND RECIPE.json`. */
import { readFileSync } from 'node:fs'
import { GrpoRecipe, SftRecipe } from '../../src/shared/recipe.ts'
import { runGrpo } from '../../src/main/training/grpo.ts'
import { runSft } from '../../src/main/training/sft.ts'

const [kind, file] = process.argv.slice(2)
const recipe: unknown = JSON.parse(readFileSync(file!, 'utf8'))
const context = (runDir: string) => ({ emit: () => undefined, signal: new AbortController().signal, runDir })
if (kind === 'sft') {
  const parsed = SftRecipe.parse(recipe)
  await runSft({ recipe: parsed, resume: true }, context(parsed.output_dir))
} else {
  const parsed = GrpoRecipe.parse(recipe)
  await runGrpo({ recipe: parsed, resume: true }, context(parsed.output_dir))
}
