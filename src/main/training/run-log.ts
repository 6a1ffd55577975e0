/**
 * The log of a run folder. `events.jsonl` is the record: one line per event, written as it happens. TensorBoard's files under
 * `tensorboard/` are derived from it and written again from the kept lines when a run resumes.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { Metrics, RunEvent } from '../../shared/event.ts'
import { fullLines } from '../evaluation/json-lines.ts'
import { onDisk, writeAll } from './disk.ts'
import type { Disk } from './disk.ts'
import { scalarsRecord, versionRecord } from './tensorboard.ts'

/** An event with the wall time it was written at, milliseconds since 1970. */
export type LoggedEvent = RunEvent & { readonly time: number }

export type RunLog = {
  /** Appends one event. `progress` and `text` are momentary and are not written. Throws AppError('disk'). */
  emit(event: RunEvent): void
  /** Makes everything so far last and tells the length of `events.jsonl` in bytes: what a checkpoint keeps for `resume`. */
  mark(): number
  close(): void
}

export type RunLogOptions = {
  /** Continue: keep this many bytes of the log, or all lines up to and including this step's. Left out: a new log. */
  readonly resume?: { readonly bytes: number } | { readonly step: number }
  /** Told about every non-finite number that was left out (a warning is also written to the log). */
  readonly report?: (text: string) => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
  readonly disk?: Disk
}

const EVENTS = 'events.jsonl'
const TENSORBOARD = 'tensorboard'
const MOMENTARY: ReadonlySet<RunEvent['kind']> = new Set(['progress', 'text', 'answering'])
const PREFIX: Partial<Record<RunEvent['kind'], string>> = { step: 'train/', evaluation: 'eval/' }

/** Opens the log of a run folder, which is made where it is missing; without `resume` a log that is there is replaced. */
export function openRunLog(folder: string, options: RunLogOptions = {}): RunLog {
  const disk = options.disk ?? fs
  const now = options.now ?? Date.now
  const path = join(folder, EVENTS)
  return onDisk(`run log ${path}`, () => {
    disk.mkdirSync(join(folder, TENSORBOARD), { recursive: true })
    const kept = options.resume ? keptBytes(path, options.resume) : 0
    const lines = disk.openSync(path, 'a')
    disk.ftruncateSync(lines, kept)
    const board = openBoard(folder, disk, now(), readRunLog(folder))
    let length = kept

    const append = (event: RunEvent): void => {
      const { line, dropped } = encode({ time: now(), ...event })
      try {
        writeAll(disk, lines, line)
      } catch (error) {
        disk.ftruncateSync(lines, length) // no half line stays behind
        throw error
      }
      length += line.length
      board.add(JSON.parse(line.toString()) as LoggedEvent)
      if (dropped.length === 0) return
      const where = 'step' in event ? `step ${event.step}: ` : ''
      const note = `${where}not a finite number, left out: ${dropped.join(', ')}`
      options.report?.(note)
      append({ kind: 'log', level: 'warn', text: note })
    }

    return {
      emit: (event) => {
        if (!MOMENTARY.has(event.kind)) onDisk(`writing ${path}`, () => append(event))
      },
      mark: () =>
        onDisk(`writing ${path}`, () => {
          disk.fsyncSync(lines)
          return length
        }),
      close: () => {
        disk.closeSync(lines)
        board.close()
      }
    }
  })
}

/** The events of a run folder, oldest first. A last line that was cut off by a crash is ignored. */
export function readRunLog(folder: string): LoggedEvent[] {
  return fullLines(join(folder, EVENTS)).map(({ text, number }) => {
    try {
      return JSON.parse(text) as LoggedEvent
    } catch (cause) {
      throw new AppError('data', `${join(folder, EVENTS)}, line ${number}: not JSON`, undefined, { cause })
    }
  })
}

/** By step, lines that name no step and follow the kept ones go: the resumed run writes its own. By bytes it is exact. */
function keptBytes(path: string, resume: { readonly bytes: number } | { readonly step: number }): number {
  if ('bytes' in resume) {
    const size = fs.existsSync(path) ? fs.statSync(path).size : 0
    if (size >= resume.bytes) return resume.bytes
    throw new AppError(
      'disk',
      `${path} has ${size} bytes, the checkpoint knows of ${resume.bytes}`,
      'the log was cut or replaced; resume from an older checkpoint'
    )
  }
  let kept = 0
  for (const { text, end } of fullLines(path)) {
    const event = JSON.parse(text) as LoggedEvent
    if ('step' in event && event.step > resume.step) break
    if ('step' in event) kept = end
  }
  return kept
}

/** One line without non-finite numbers, and the names of those that were left out. In lists they become null. */
function encode(event: LoggedEvent): { line: Buffer; dropped: string[] } {
  const dropped: string[] = []
  const json = JSON.stringify(event, (name, value: unknown) => {
    if (typeof value !== 'number' || Number.isFinite(value)) return value
    dropped.push(`${name} (${value})`)
    return undefined
  })
  return { line: Buffer.from(json + '\n'), dropped }
}

/** A fresh event file holding `past`; files of earlier openings are removed, or TensorBoard would show both. */
function openBoard(
  folder: string,
  disk: Disk,
  now: number,
  past: readonly LoggedEvent[]
): { add(event: LoggedEvent): void; close(): void } {
  const board = join(folder, TENSORBOARD)
  for (const name of fs.readdirSync(board)) if (name.endsWith('.reasonsmith')) disk.rmSync(join(board, name))
  const started = String(Math.floor(now / 1000)).padStart(10, '0')
  const file = disk.openSync(join(board, `events.out.tfevents.${started}.reasonsmith`), 'w')
  const records = (event: LoggedEvent): Buffer[] => {
    const scalars = tagged(event)
    return 'step' in event && scalars ? [scalarsRecord(event.time / 1000, event.step, scalars)] : []
  }
  writeAll(disk, file, Buffer.concat([versionRecord(now / 1000), ...past.flatMap(records)]))
  return {
    add: (event) => records(event).forEach((bytes) => writeAll(disk, file, bytes)),
    close: () => disk.closeSync(file)
  }
}

function tagged(event: RunEvent): Metrics | undefined {
  const prefix = PREFIX[event.kind]
  if (prefix === undefined || !('metrics' in event)) return undefined
  return Object.fromEntries(Object.entries(event.metrics).map(([name, value]) => [prefix + name, value]))
}
