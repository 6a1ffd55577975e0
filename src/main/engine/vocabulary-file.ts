/** A base's vocabulary and template alone: a fraction of a second and of the memory of loading it. */
import { AppError } from '../../shared/errors.ts'
import type { Backend } from './backend.ts'
import { Owned } from './ffi/owned.ts'
import { readGguf } from './gguf.ts'
import { Vocabulary } from './vocabulary.ts'

export type VocabularyFile = {
  readonly vocabulary: Vocabulary
  readonly contextLength: number
  dispose(): void
}

/** Throws AppError('model') for a file without a vocabulary that llama.cpp can read. */
export async function loadVocabulary(path: string, backend: Backend): Promise<VocabularyFile> {
  const info = await readGguf(path)
  const { llama } = backend.native
  const params = llama.model_default_params()
  params.n_gpu_layers = 0
  params.vocab_only = true
  const handle = llama.model_load_from_file(path, params)
  if (handle === null) throw new AppError('model', `${path}: its vocabulary cannot be read`, 'Choose another base.')
  const owned = new Owned('vocabulary', handle, (it) => llama.model_free(it))
  const name = info.text('general.architecture') ?? ''
  return {
    vocabulary: new Vocabulary(backend.native, llama.model_get_vocab(handle)!, info),
    contextLength: info.number(`${name}.context_length`) ?? 0,
    dispose: () => owned.dispose()
  }
}
