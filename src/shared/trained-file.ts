/** What a training run leaves in its folder, and each of its checkpoints in theirs. */

/** The adapter that was trained; its base is where the recipe says. */
export const ADAPTER_FILE = 'adapter.gguf'
/** The whole model, where every weight was trained: F32, with the base's metadata. It needs no base. */
export const MODEL_FILE = 'model.gguf'
