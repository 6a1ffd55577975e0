/** A page whose process died is loaded again, but not for ever: what dies at once each time would flicker without an end. */
const MOST = 3
const WITHIN_MS = 60_000

/** Answers whether the page may be loaded again now, each time it died. */
export function reloadLimit(now: () => number = Date.now): () => boolean {
  let times: number[] = []
  return () => {
    times = [...times.filter((at) => now() - at < WITHIN_MS), now()]
    return times.length <= MOST
  }
}
