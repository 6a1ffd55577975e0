/** Bars with the time left on a terminal; now and then a plain line where there is none. */
import cliProgress from 'cli-progress'
import type { MultiBar, SingleBar } from 'cli-progress'
import type { RunEvent } from '../../shared/event.ts'
import type { Stream } from './display.ts'

type ProgressEvent = Extract<RunEvent, { kind: 'progress' }>

export type Progress = {
  readonly update: (event: ProgressEvent) => void
  /** Prints a line above the bars. */
  readonly line: (text: string) => void
  readonly close: () => void
}

/** Plain lines come at this pace, so that a log file stays readable. */
const PLAIN_LINE_MS = 10_000

export function createProgress(stream: Stream, now: () => number = Date.now): Progress {
  return stream.isTTY ? barProgress(stream, now) : plainProgress(stream, now)
}

function barProgress(stream: Stream, now: () => number): Progress {
  let bars: MultiBar | null = null
  const shown = new Map<string, { bar: SingleBar; left: TimeLeft }>()
  const close = (): void => {
    bars?.stop()
    bars = null
    shown.clear()
  }
  const create = (all: MultiBar, { label, done, of }: ProgressEvent): { bar: SingleBar; left: TimeLeft } => ({
    bar: all.create(of, done, { label, left: '', note: '' }),
    left: timeLeft(now, done)
  })
  return {
    update: (event) => {
      const { label, done, of, note = '' } = event
      bars ??= new cliProgress.MultiBar({
        format: '{label} [{bar}] {value}/{total} {left} {note}',
        stream: stream as NodeJS.WritableStream,
        hideCursor: true,
        clearOnComplete: true,
        emptyOnZero: true,
        gracefulExit: false // Ctrl-C is ours to answer
      })
      const { bar, left } = shown.get(label) ?? create(bars, event)
      shown.set(label, { bar, left })
      bar.setTotal(of)
      bar.update(done, { left: left(done, of) ?? '', note })
      if (done < of) return
      bars.remove(bar)
      shown.delete(label)
      if (shown.size === 0) close()
    },
    line: (text) => {
      if (bars === null) stream.write(text + '\n')
      else bars.log(text + '\n')
    },
    close
  }
}

function plainProgress(stream: Stream, now: () => number): Progress {
  const running = new Map<string, { left: TimeLeft; printed: number }>()
  return {
    update: ({ label, done, of, note }) => {
      const one = running.get(label) ?? { left: timeLeft(now, done), printed: now() }
      if (done >= of) running.delete(label)
      else running.set(label, one)
      if (done >= of || now() - one.printed < PLAIN_LINE_MS) return
      one.printed = now()
      const parts = [`${label} ${done}/${of}`, one.left(done, of), note]
      stream.write(`${parts.filter((part) => part !== null && part !== undefined && part !== '').join(', ')}\n`)
    },
    line: (text) => void stream.write(text + '\n'),
    close: () => undefined
  }
}

/** `3m20s left`, from the pace since the first report; null before there is a pace. */
type TimeLeft = (done: number, of: number) => string | null

function timeLeft(now: () => number, firstDone: number): TimeLeft {
  const start = now()
  return (done, of) => (done > firstDone ? `${span(((now() - start) / (done - firstDone)) * (of - done))} left` : null)
}

/** `45s`, `3m20s`, `1h05m`. */
function span(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m${String(seconds % 60).padStart(2, '0')}s`
  return `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, '0')}m`
}
