/** One pass in a process of its own, so that no memory of an earlier one is used again: `node long-rows.fixture.ts BASE TOKENS`. */
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { takenBy } from './long-rows.ts'

const [base, tokens] = process.argv.slice(2)
const model = await loadModel(base!, openBackend({ threads: 1 }))
const taken = await takenBy((it) => it, model, Number(tokens))
process.stdout.write(JSON.stringify(taken), () => process.exit(0)) // the system frees the rest
