/**
 * Run as a process of its own under a limit on the size of files, with a folder that holds `base.gguf` and `merged.gguf`:
 * merging and quantising fail half way. Prints, as JSON, the codes of the errors and what is left in the folder.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../src/shared/errors.ts'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { quantizeModel, writeMerged } from '../../src/main/engine/merge.ts'
import { loadModel } from '../../src/main/engine/model.ts'

const at = (name: string): string => join(process.argv[2]!, name)
const codeOf = (work: Promise<void>): Promise<string> =>
  work.then(
    () => 'written',
    (error: unknown) => (error instanceof AppError ? error.code : String(error))
  )
process.on('SIGXFSZ', () => undefined) // the limit is to be an error, as a full disk is, not the end
const backend = openBackend({ threads: 1 })
const model = await loadModel(at('base.gguf'), backend)
const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
const between = (): Promise<void> => Promise.resolve()
const merged = await codeOf(writeMerged(adapter, at('again.gguf'), { type: 'F16', name: 'x', between }))
const quantised = await codeOf(quantizeModel(backend, at('merged.gguf'), at('small.gguf'), 'Q8_0'))
console.log(JSON.stringify({ merged, quantised, left: readdirSync(process.argv[2]!).sort() }))
for (const it of [adapter, model, backend]) it.dispose()
