/**
 * Measuring: every policy of the recipe answers every task in several runs (arXiv 2504.21318, evaluation: pass@1 averaged over
 * runs, with its deviation). Answers are kept block by block as they come; a stopped evaluation continues with the next block
 * and ends with the same answers as one that was never stopped.
 */
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { Held } from '../engine/ffi/owned.ts'
import { openDevice } from '../engine/open-device.ts'
import { resumedThreads } from '../engine/threads.ts'
import { loadVocabulary } from '../engine/vocabulary-file.ts'
import { holdFolder } from '../files/held-folder.ts'
import { dialogueOf } from '../policy/dialogue.ts'
import { loadTasks } from '../policy/tasksets.ts'
import { planAnsweringInTurn, requireAnswering } from './answering-memory.ts'
import { appendAnswers, forgetAnswers, keptAnswers } from './answers.ts'
import { environmentRecord } from './environment.ts'
import { fingerprintOf } from './fingerprint.ts'
import { askableTaskset, blocksFor, evaluatePolicies, refuseStopped } from './measure.ts'
import { PolicyModels, policyHeaders } from './policy-models.ts'
import { reportData, writeReport } from './report.ts'
import { summarise } from './report/summary.ts'
import { stageResults, summaryLines, typicalTraces } from './results.ts'
import { keepOrigin, keepResults, originOf } from './run-files.ts'
import type { Origin } from './run-files.ts'

export const ANSWERS_FILE = 'answers.jsonl'

/** Throws AppError('disk') while another process writes the folder. */
export const runEvaluation: JobFunction<'evaluate'> = async (input, context) => {
  const release = holdFolder(context.runDir) // two that continue the same answers would write each twice
  try {
    return await evaluate(input, context)
  } finally {
    release()
  }
}

const evaluate: JobFunction<'evaluate'> = async ({ recipe, resume }, { emit, signal, runDir }) => {
  emit({ kind: 'phase', name: 'loading' })
  const tasks = recipe.tasksets.map(({ name, tasks: sources }) => ({ name, tasks: loadTasks(sources) }))
  const fingerprint = fingerprintOf(recipe)
  const earlier = resume ? originOf(runDir) : null
  if (earlier && earlier.fingerprint !== fingerprint) {
    throw new AppError(
      'recipe',
      `${runDir} holds answers of other settings, or of a base or an adapter that has changed since`,
      'Evaluate into another output_dir.'
    )
  }
  const held = new Held()
  try {
    const warn = (text: string): void => emit({ kind: 'log', level: 'warn', text })
    const threads = resumedThreads(recipe.threads, earlier?.threads, warn)
    const backend = held.own(await openDevice({ device: recipe.device, threads, emit }))
    const answering = recipe.max_prompt_length + recipe.max_completion_length
    const headers = await policyHeaders(recipe, backend, answering)
    const dialogue = dialogueOf(held.own(await loadVocabulary(recipe.base, backend)).vocabulary)
    await nextTurn() // loading kept the loop from hearing a cancel
    refuseStopped(signal)
    const systemMessage = recipe.system_message ?? dialogue.systemMessage
    const asking = { dialogue, systemMessage, maxPromptTokens: recipe.max_prompt_length, warn }
    const tasksets = tasks.map(({ name, tasks: some }) => askableTaskset(name, some, asking))
    const questions = tasksets.flatMap((taskset) => taskset.questions)
    const longest = questions.reduce((most, { prompt }) => Math.max(most, prompt.length), 0)
    const contextTokens = longest + recipe.max_completion_length
    const most = recipe.runs * Math.max(...tasksets.map((taskset) => taskset.questions.length))
    const asked = {
      count: most,
      contextTokens,
      width: earlier?.width ?? recipe.rollout_width,
      cacheType: earlier?.cacheType ?? recipe.cache_type
    }
    const plan = planAnsweringInTurn(headers, asked, recipe.memory_limit_mib)
    requireAnswering(plan, recipe)
    const { width, cacheType } = plan
    const models = held.own(new PolicyModels(recipe, backend, { width, contextTokens, cacheType }))
    const { policies, runs, seed, sampling, lenient } = recipe
    const measurement = { policies, tasksets, runs, seed, sampling, lenient, maxTokens: recipe.max_completion_length }
    if (!earlier) await models.use(policies[0]!.name) // what cannot be loaded is refused before anything is written

    const path = join(runDir, ANSWERS_FILE)
    if (!earlier) forgetAnswers(path)
    const kept = keptAnswers(path, blocksFor(measurement, width))
    const environment = environmentRecord(backend)
    const [before, now] = [earlier?.environment['device'], environment['device']]
    if (before !== undefined && before !== now)
      warn(
        `the answers that are there were computed on ${before}; the others are computed on ${now}, which rounds otherwise`
      )
    const origin: Origin = earlier ?? {
      date: new Date().toISOString(),
      command: 'reasonsmith evaluate recipe.yaml # the one in this folder, with another output_dir',
      environment,
      fingerprint,
      width,
      cacheType,
      threads: backend.threads
    }
    keepOrigin(runDir, origin)
    const total = policies.length * runs * questions.length
    const text = `${policies.length} × ${questions.length} tasks × ${runs} runs = ${total} answers, ${width} at once`
    emit({ kind: 'log', level: 'info', text: kept.length > 0 ? `${text}; ${kept.length} are there already` : text })
    emit({ kind: 'phase', name: 'answering' })
    const onBlock = (answers: Parameters<typeof appendAnswers>[1]): void => appendAnswers(path, answers)
    const answers = await evaluatePolicies(measurement, { models, dialogue, emit, signal, kept, onBlock })

    const results = stageResults(answers)
    keepResults(runDir, { results, traces: typicalTraces(answers, tasks) })
    const data = reportData(runDir)
    const { markdown, html } = writeReport(runDir, data)
    const { headline, tests } = summarise(data)
    const lines = [...summaryLines(data), `answers: ${path}`, `report: ${html}`]
    return { lines, headline, tests, files: { answers: path, markdown, html } }
  } finally {
    held.dispose()
  }
}
