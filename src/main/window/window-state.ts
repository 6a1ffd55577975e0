/** Where the window was, kept in a small file; a place that no screen shows any more is not used. */
import { readFileSync, writeFileSync } from 'node:fs'

export type Bounds = { readonly x: number; readonly y: number; readonly width: number; readonly height: number }
export type WindowState = { readonly bounds: Bounds | null; readonly maximized: boolean }

const SMALLEST = { width: 960, height: 600 } as const
/** So much of the window must be on a screen. */
const VISIBLE = 100

/** Never throws: a missing or damaged file is a first start. */
export function readWindowState(path: string, screens: readonly Bounds[]): WindowState {
  try {
    const kept = JSON.parse(readFileSync(path, 'utf8')) as { bounds?: Bounds; maximized?: unknown }
    const { bounds } = kept
    const whole = bounds !== undefined && [bounds.x, bounds.y, bounds.width, bounds.height].every(Number.isFinite)
    const usable = whole && screens.some((screen) => overlaps(bounds, screen)) ? bounds : null
    const least = usable && {
      ...usable,
      width: Math.max(SMALLEST.width, usable.width),
      height: Math.max(SMALLEST.height, usable.height)
    }
    return { bounds: least, maximized: kept.maximized === true }
  } catch {
    return { bounds: null, maximized: false }
  }
}

export function keepWindowState(path: string, state: WindowState): void {
  try {
    writeFileSync(path, JSON.stringify(state))
  } catch {
    // only a convenience
  }
}

const overlaps = (a: Bounds, b: Bounds): boolean =>
  Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x) >= VISIBLE &&
  Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) >= VISIBLE
