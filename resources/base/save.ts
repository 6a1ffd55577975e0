/** The trained weights as a file: matrices in F16, norms in F32, as llama.cpp's own converter writes them. */
import { renameSync, rmSync } from 'node:fs'
import { readGguf } from '../../src/main/engine/gguf.ts'
import { writeInType } from '../../src/main/engine/merge.ts'
import type { Parameters } from '../../src/main/engine/parameters.ts'
import { WholeModel } from '../../src/main/engine/whole-model.ts'
import { writePieces } from '../../src/main/files/whole-file.ts'

export async function saveTrained(parameters: Parameters, path: string): Promise<void> {
  const { backend } = parameters.model
  const [wide, narrow] = [`${path}.f32`, `${path}.f16`]
  const whole = new WholeModel(parameters)
  try {
    writePieces(wide, whole.pieces())
    const between = (): Promise<void> => Promise.resolve()
    await writeInType({ backend, info: await readGguf(wide) }, null, narrow, { type: 'F16', keepsMetadata: true, between })
    renameSync(narrow, path)
  } finally {
    whole.dispose()
    for (const file of [wide, narrow]) rmSync(file, { force: true })
  }
}
