/**
 * Run as a process of its own with REASONSMITH_OWN_WEIGHTS set: the engine then trains weights and adapters that it loaded
 * itself. Takes the first golden SFT step and prints, as JSON, what ffi.test.ts looks at.
 */
import { loadAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { ownedCounts } from '../../src/main/engine/ffi/owned.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { decodeLogits, logSoftmax } from './decode.ts'
import { golden, goldenArray, goldenPath, goldenSequence } from './golden.ts'

const backend = openBackend({ threads: 1 })
const model = await loadModel(goldenPath(golden.parts.sft.base), backend)
const adapter = await loadAdapter(model, goldenPath(golden.parts.sft.adapter))
const parameters = new Parameters(model, { kind: 'adapter', adapter })
const trainer = new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 64 })
const { betas, eps: epsilon, weight_decay: weightDecay, max_grad_norm: maxGradNorm, lr } = golden.adamw
const optimizer = new AdamW(parameters, { beta1: betas[0], beta2: betas[1], epsilon, weightDecay, maxGradNorm })

const sequences = [goldenSequence('sft', 0), goldenSequence('sft', 1)]
const [batch] = pack(sequences, 64)
const n = batch!.at.length
const { tokens } = sequences[0]!
const { vocabulary } = model.config

/** The decoder's and the trainer's log-probabilities of the first sequence's tokens, largest difference. */
function apart(): { difference: number; decoded: number[] } {
  const logits = logSoftmax(decodeLogits(model, tokens, adapter), vocabulary)
  const decoded = [...tokens].slice(1).map((token, t) => logits[t * vocabulary + token]!)
  const mask = new Uint8Array(tokens.length).fill(1)
  const { logprobs } = trainer.score(pack([{ tokens, mask }], 64)[0]!)
  return { difference: Math.max(...decoded.map((it, i) => Math.abs(it - logprobs[i]!))), decoded }
}

const before = apart()
const { logprobs } = trainer.accumulate(batch!, (output) => ({
  logprob: output.logprobs.map(() => -1 / n),
  entropy: new Float32Array(output.logprobs.length)
}))
const { rtol, atol } = golden.tolerances.grad
const wrongGradients = parameters.list.filter(({ name, gradient }) => {
  const expected = goldenArray(`sft.grad.${name}`)
  const bound = atol + rtol * expected.reduce((most, it) => Math.max(most, Math.abs(it)), 0)
  return !readF32(backend, gradient).every((it, i) => Math.abs(it - expected[i]!) <= bound)
})
const { gradNorm } = optimizer.step({ a: lr, b: lr, weight: lr })
const after = apart()
const result = {
  sharesWeights: model.sharesWeights,
  loss: -logprobs.reduce((sum, it) => sum + it, 0) / n,
  gradNorm,
  wrongGradients: wrongGradients.map(({ name }) => name),
  before: before.difference,
  after: after.difference,
  moved: Math.max(...after.decoded.map((it, i) => Math.abs(it - before.decoded[i]!)))
}
for (const it of [optimizer, trainer, parameters, adapter, model, backend]) it.dispose()
console.log(JSON.stringify({ ...result, owned: ownedCounts() }))
