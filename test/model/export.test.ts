/** The export of an adapter on a real chat model, held against node-llama-cpp. Needs ../shared/models. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { seeded } from '../../src/shared/random.ts'
import { LoraSettings, SftRecipe } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Agreement } from '../../src/main/engine/agreement.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { elements, write } from '../../src/main/engine/tensor.ts'
import { runExport } from '../../src/main/training/export.ts'
import { temporaryFolder } from '../engine/folder.ts'
import { owner } from '../engine/owner.ts'

const BASE = join(import.meta.dirname, '../../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
const own = owner()
const folder = temporaryFolder()

test.skipIf(!existsSync(BASE))(
  'SmolLM2-135M with a strong adapter answers the same through node-llama-cpp (skipped without ../shared/models)',
  async () => {
    const run = join(folder, 'run')
    mkdirSync(run)
    const backend = own.backend()
    const model = own(await loadModel(BASE, backend))
    const adapter = own(await createAdapter(model, LoraSettings.parse({}), 1))
    for (const { target, b } of adapter.pairs) {
      const random = seeded(2, target)
      write(
        backend,
        b,
        Float32Array.from({ length: elements(b) }, () => 0.005 * random.normal())
      )
    }
    adapter.save(join(run, 'adapter.gguf'))
    const recipe = SftRecipe.parse({ kind: 'sft', base: BASE, output_dir: run, train: 'none.jsonl', threads: 1 })
    writeFileSync(join(run, 'recipe.yaml'), stringify(recipe))
    const to = join(folder, 'out')
    const context = { emit: () => undefined, signal: new AbortController().signal, runDir: run }
    const result = (await runExport({ to, merge: 'auto', quantize: ['Q8_0', 'Q4_K_M'] }, context)) as {
      agreement: Agreement
      lines: string[]
    }
    console.log(result.lines.join('\n'), '\n', JSON.stringify(result.agreement))
    expect(result.agreement.agrees).toBe(true)
    expect(result.agreement.sameTokens).toBe(96)
    expect(result.agreement.largest).toBeLessThan(1e-3)
    expect(readFileSync(join(to, 'README.md'), 'utf8')).toContain('Q4_1')
  }
)
