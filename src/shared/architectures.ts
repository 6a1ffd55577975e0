/** The architectures that train here, by the name their GGUF gives. `engine/arch/index.ts` has a file for each. */
export const TRAINABLE_ARCHITECTURES: readonly string[] = ['llama', 'qwen2', 'qwen3', 'phi3', 'gemma3']
