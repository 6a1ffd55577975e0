/** GGUF files where they already lie, what they are, whether they can be trained here. */
import { z } from 'zod'
import { call, HostPath, RunId, Time } from './call.ts'

export const ModelFile = z.object({
  path: HostPath,
  name: z.string(),
  bytes: z.number(),
  modifiedAt: Time,
  /** Where it was found: `Hugging Face cache`, `LM Studio`, `Ollama`, `bundled`, or the chosen folder. */
  source: z.string(),
  architecture: z.string().nullable(),
  parameters: z.number().nullable(),
  quantisation: z.string().nullable(),
  contextLength: z.number().int().nullable(),
  /** Can it be trained, and if not why. */
  support: z.object({ trainable: z.boolean(), reason: z.string() }),
  template: z.object({ present: z.boolean(), verdict: z.string() }),
  /** With a rank-16 adapter at 2048 tokens. */
  fits: z.object({ verdict: z.enum(['fits', 'tight', 'no', 'unknown']), needBytes: z.number().nullable() }),
  /** Not readable as GGUF: why. */
  problem: z.string().nullable()
})
export type ModelFile = z.infer<typeof ModelFile>

/** What a run trained, or an adapter that lies somewhere. */
export const AdapterFile = z.object({
  path: HostPath,
  /** A whole model, of which every weight was trained: `base` is what it started from, and it answers without it. */
  whole: z.boolean(),
  name: z.string(),
  bytes: z.number(),
  run: RunId.nullable(),
  base: HostPath.nullable(),
  /** Names from the base to this one: base, sft run, grpo run. */
  lineage: z.array(z.string())
})
export type AdapterFile = z.infer<typeof AdapterFile>

export const models = {
  list: call
    .input(z.strictObject({}))
    .output(z.object({ models: z.array(ModelFile), adapters: z.array(AdapterFile), folders: z.array(HostPath) })),
  inspect: call.input(z.strictObject({ path: HostPath })).output(
    z.object({
      model: ModelFile,
      metadata: z.array(z.object({ key: z.string(), value: z.string() })),
      tensors: z.array(z.object({ name: z.string(), type: z.string(), shape: z.array(z.number()) })),
      chatTemplate: z.string().nullable()
    })
  ),
  /**
   * Downloads by Hugging Face name (`owner/name:Q4_K_M` or a file's address, `#sha256=…` at its end is compared), as a run
   * of kind `download`. Only when asked.
   */
  download: call.input(z.strictObject({ from: z.string().min(1) })).output(z.object({ run: RunId }))
}
