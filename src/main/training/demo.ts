/**
 * The whole recipe on the bundled base, in minutes on two cores: think tokens, tasks, curation, teaching, sharpening,
 * measuring, report. Each stage leaves its result in a folder of its own, so the same command continues where it stopped.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import { EvaluateRecipe, GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import type { Device } from '../../shared/recipe.ts'
import type { Task } from '../../shared/task.ts'
import type { JobContext, JobFunction } from '../../shared/worker-contract.ts'
import { decontaminate, passCounts, teachable } from '../data/prepare/curation.ts'
import { traceLines } from '../data/prepare/traces.ts'
import { loadModel } from '../engine/model.ts'
import { openDevice } from '../engine/open-device.ts'
import { repurposePlaceholders } from '../engine/prepare.ts'
import { Sampler } from '../engine/sampler.ts'
import { environmentRecord } from '../evaluation/environment.ts'
import { runEvaluation } from '../evaluation/evaluate.ts'
import { writeReport as writeReportFiles } from '../evaluation/report.ts'
import { curvesFromEvents } from '../evaluation/report/curves.ts'
import { keepComposedReport, originOf, resultsOf, writeWhole } from '../evaluation/run-files.ts'
import { summaryLines } from '../evaluation/results.ts'
import { dialogueOf, taskMessages } from '../policy/dialogue.ts'
import { grade } from '../policy/grading.ts'
import { BRIEF_SYSTEM_MESSAGE } from '../reasoning/prompts.ts'
import { familyOf, generateTasks } from '../reasoning/tasks/index.ts'
import { runGrpo } from './grpo.ts'
import { readRunLog } from './run-log.ts'
import { runSft } from './sft.ts'
import { DEMO } from './demo-settings.ts'
import type { DemoSettings } from './demo-settings.ts'

/** The base that ships with the program: beside the sources, or beside what was built from them. */
function bundledBase(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'resources', 'base', 'base.gguf')
    if (existsSync(file)) return file
  }
  throw new AppError(
    'model',
    'the bundled base resources/base/base.gguf is missing',
    'Make it with `node resources/base/make.ts`.'
  )
}

/**
 * One thread: with so small a base, threads wait for each other longer than they work (64 sequences decode four times as
 * fast on one thread as on two; see docs/benchmarks/LOG.md).
 */
const DEMO_THREADS = 1

/** `isReserved` of resources/base/corpus.ts: one task in eight, by its id. Twice as many are drawn to be sure of enough. */
const RESERVED = /[01](~\d+)?$/
const RESERVED_SHARE = 16

/** Where each stage leaves what the next one reads. */
type Files = Readonly<
  Record<'base' | 'traces' | 'tasks' | 'heldOut' | 'test' | 'curation' | 'sft' | 'grpo' | 'evaluate', string>
>

export const runDemo: JobFunction<'demo'> = async ({ short, seed, device, threads: asked }, context) => {
  const threads = asked ?? DEMO_THREADS
  const settings = DEMO[short ? 'short' : 'full']
  const at = (name: string): string => join(context.runDir, name)
  const files: Files = {
    base: at('base.gguf'),
    traces: at('traces.jsonl'),
    tasks: at('tasks.jsonl'),
    heldOut: at('held-out.jsonl'),
    test: at('test.jsonl'),
    curation: at('curation.json'),
    sft: at('2-sft'),
    grpo: at('3-grpo'),
    evaluate: at('4-evaluate')
  }
  mkdirSync(context.runDir, { recursive: true })
  const started = Date.now()

  if (!existsSync(files.curation)) await curate(settings, seed, { device, threads }, files, context)
  const common = {
    base: files.base,
    seed,
    device,
    threads,
    system_message: BRIEF_SYSTEM_MESSAGE,
    max_completion_length: settings.maxCompletionLength
  }
  const sft = SftRecipe.parse({
    kind: 'sft',
    ...common,
    output_dir: files.sft,
    train: files.traces,
    held_out_share: 0.05,
    max_length: 512,
    ...settings.sft
  })
  if (!existsSync(join(files.sft, 'adapter.gguf')))
    await runSft({ recipe: sft, resume: true }, stage(context, files.sft, 'teaching'))
  const grpo = GrpoRecipe.parse({
    kind: 'grpo',
    ...common,
    adapter: join(files.sft, 'adapter.gguf'),
    output_dir: files.grpo, // prettier-ignore
    tasks: [{ file: files.tasks, format: 'prompt_solution' }],
    held_out: [{ file: files.heldOut, format: 'prompt_solution' }], // prettier-ignore
    max_prompt_length: settings.maxPromptLength,
    ...settings.grpo
  })
  if (!existsSync(join(files.grpo, 'adapter.gguf')))
    await runGrpo({ recipe: grpo, resume: true }, stage(context, files.grpo, 'sharpening'))
  const evaluate = EvaluateRecipe.parse({
    kind: 'evaluate',
    ...common,
    output_dir: files.evaluate,
    max_prompt_length: settings.maxPromptLength, // prettier-ignore
    policies: [
      { name: 'base' },
      { name: 'SFT', adapter: join(files.sft, 'adapter.gguf') },
      { name: 'GRPO', adapter: join(files.grpo, 'adapter.gguf') }
    ],
    tasksets: [{ name: 'held-out tasks', tasks: [{ file: files.test, format: 'prompt_solution' }] }],
    ...settings.evaluate
  })
  const measuring = stage(context, files.evaluate, 'measuring')
  writeWhole(join(files.evaluate, 'recipe.yaml'), stringify(evaluate))
  await runEvaluation({ recipe: evaluate, resume: true }, measuring)
  return writeReport({
    files,
    recipes: { curation: settings.curation, sft, grpo, evaluate },
    seed,
    short,
    context,
    minutes: (Date.now() - started) / 60_000
  })
}

/** A stage is a run of its own; its events are this job's too. */
function stage(context: JobContext, runDir: string, name: string): JobContext {
  mkdirSync(runDir, { recursive: true })
  context.emit({ kind: 'phase', name })
  return { ...context, runDir }
}

/** Think tokens, tasks, the base's pass rates, decontamination, the teacher's traces. Written last: `curation.json`. */
async function curate(
  settings: DemoSettings,
  seed: number,
  computing: { readonly device: Device; readonly threads: number },
  files: Files,
  { emit, signal }: JobContext
): Promise<void> {
  emit({ kind: 'phase', name: 'curating' })
  const { pool: poolSize, test: testSize, heldOut: heldOutSize, tasks, samples, perRound, band } = settings.curation
  const backend = await openDevice({ ...computing, emit })
  try {
    const renamed = await repurposePlaceholders(bundledBase(), files.base, backend)
    emit({ kind: 'log', level: 'info', text: renamed.map(({ was, name }) => `${was} becomes ${name}`).join(', ') })
    const share = (size: number): number => Math.ceil(size / tasks.length)
    const generate = (size: number, part: string): Task[] =>
      tasks.flatMap(({ family, difficulty }, i) =>
        generateTasks({ family, difficulty, count: share(size), seed: seeded(seed, part, i).integer(0, 2 ** 31 - 1) })
      )
    // Only tasks that the base's corpus left out, so that no stage has seen them answered.
    const test = generate(RESERVED_SHARE * testSize, 'test')
      .filter(({ id }) => RESERVED.test(id))
      .slice(0, testSize)
    const clean = decontaminate(generate(poolSize, 'pool'), test)
    emit({
      kind: 'log',
      level: 'info',
      text: `${clean.kept.length} tasks, ${clean.removed.length} removed because they resemble a test task`
    })
    const heldOut = clean.kept
      .filter((_, i) => i % Math.floor(clean.kept.length / heldOutSize) === 0)
      .slice(0, heldOutSize)
    const pool = clean.kept.filter((task) => !heldOut.includes(task))

    const model = await loadModel(files.base, backend)
    const dialogue = dialogueOf(model.vocabulary)
    const sampler = new Sampler(model, {
      width: 64,
      contextTokens: settings.maxPromptLength + settings.maxCompletionLength
    })
    try {
      let firstCorrect = 0
      const passes = await passCounts(pool, { samples, perRound, band }, async (asked, from, count) => {
        const { groups } = await sampler.generate(
          asked.map((task) => ({
            prompt: dialogue.promptTokens(taskMessages(task.prompt, BRIEF_SYSTEM_MESSAGE)),
            seeds: Array.from({ length: count }, (_, i) => `${seed}/curation/${task.id}/${from + i}`)
          })),
          {
            sampling: { temperature: 1, top_k: 0, top_p: 1, min_p: 0 },
            maxTokens: settings.maxCompletionLength,
            adapter: null,
            signal,
            onProgress: (done, of) =>
              emit({
                kind: 'progress',
                label: `sampling the base, answers ${from + 1} to ${from + count} of ${samples} at most`,
                done,
                of
              })
          }
        )
        const correct = await Promise.all(
          asked.map(async (task, i) => {
            const graded = await Promise.all(groups[i]!.map((rollout) => grade(task, rollout, dialogue)))
            return graded.map(({ verdict }) => verdict.kind === 'correct')
          })
        )
        if (from === 0) firstCorrect = correct.filter(([first]) => first).length
        return correct
      })
      const { kept, removed } = teachable(pool, passes, band)
      const answers = [...passes.values()].reduce((sum, pass) => sum + pass.samples, 0)
      const removedAs = (kind: string): number => removed.filter(({ reason }) => reason.kind === kind).length
      emit({
        kind: 'log',
        level: 'info',
        text: `${kept.length} of ${pool.length} tasks are at the edge of the base's ability: taught and trained on. ${removedAs('too hard')} that it never solves and ${removedAs('too easy')} that it solves too often are left out. It solves ${firstCorrect} with its first answer; ${answers} answers of ${samples * pool.length} settled which tasks are kept, so the others were not sampled`
      })
      const lessons = seeded(seed, 'lessons').shuffle(kept).slice(0, settings.curation.lessons)
      const taught = lessons.map((task) => ({
        prompt: task.prompt,
        ...familyOf(task.source).teach(task, seeded(seed, 'teacher', task.id))
      }))
      writeFileSync(files.traces, traceLines(taught))
      const rows = (some: readonly Task[]): string =>
        some.map(({ prompt, solution }) => JSON.stringify({ prompt, solution })).join('\n') + '\n'
      writeFileSync(files.tasks, rows(kept))
      writeFileSync(files.heldOut, rows(heldOut))
      writeFileSync(files.test, rows(test))
      const counts = {
        pool: poolSize,
        removedAsTestLike: clean.removed.length,
        teachable: kept.length,
        tooHard: removedAs('too hard'),
        tooEasy: removedAs('too easy'),
        samples,
        asked: pool.length,
        answers,
        firstCorrect,
        lessons: lessons.length,
        heldOut: heldOut.length,
        test: test.length
      }
      writeWhole(files.curation, JSON.stringify(counts, null, 2) + '\n')
    } finally {
      sampler.dispose()
      model.dispose()
    }
  } finally {
    backend.dispose()
  }
}

type Made = {
  files: Files
  recipes: Readonly<Record<string, unknown>>
  seed: number
  short: boolean
  context: JobContext
  minutes: number
}

function writeReport({ files, recipes, seed, short, context, minutes }: Made): unknown {
  const results = resultsOf(files.evaluate)
  if (!results) throw new AppError('internal', `${files.evaluate} holds no results`)
  const counts = JSON.parse(readFileSync(files.curation, 'utf8')) as Record<string, number>
  const data = {
    title: 'Reasonsmith demo: a small base learns to think',
    notes: [
      'A bundled base of 1.4 million parameters is taught to think by scripted traces (SFT), then sharpened by reward (GRPO); each stage answers the same held-out tasks in independent runs.',
      `Of ${counts['pool']} generated tasks ${counts['removedAsTestLike']} resembled a test task and were left out, and ${counts['heldOut']} were held out. Up to ${counts['samples']} answers of the base to each of the other ${counts['asked']} told which are at the edge of its ability: ${counts['teachable']} that it solves sometimes were kept, ${counts['tooHard']} that it never solved and ${counts['tooEasy']} that it solves at least nine times in ten were left out. A task was asked no further once no answer could change that, so ${counts['answers']} answers were enough; with its first answer the base solved ${counts['firstCorrect']}. ${counts['lessons']} tasks were taught, and GRPO was given all that were kept. The ${counts['test']} test tasks were not chosen so, and were never in the base's corpus.`,
      `This call took ${minutes.toFixed(1)} minutes.`,
      ...(short ? ['Short form: too few steps and answers to show an effect.'] : [])
    ],
    date: new Date().toISOString(),
    command: `npm run demo -- --seed ${seed}${short ? ' --short' : ''}`,
    stages: [{ name: 'base' }, { name: 'SFT' }, { name: 'GRPO' }],
    ...results,
    curves: [...curvesFromEvents('SFT', readRunLog(files.sft)), ...curvesFromEvents('GRPO', readRunLog(files.grpo))],
    settings: Object.entries(recipes).map(([name, recipe]) => ({
      name,
      yaml: stringify(recipe).replaceAll(`${context.runDir}/`, '')
    })),
    seeds: { demo: seed },
    environment: originOf(files.evaluate)?.environment ?? environmentRecord()
  }
  keepComposedReport(context.runDir, data)
  const { html } = writeReportFiles(context.runDir, data)
  return { report: html, lines: [...summaryLines(data), `report: ${html}`] }
}
