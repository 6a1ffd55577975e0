/**
 * The likeliest tokens of a row without sorting the row: a vocabulary has up to 150,000 entries, and what is drawn from is
 * mostly a handful of them. Both selections give the order that a full sort would give: likeliest first, ties by token id.
 * Zeros and NaN are never selected.
 */

/** Whether token `a` comes before token `b` in that order. */
const outranks = (row: Float32Array, a: number, b: number): boolean =>
  row[a]! > row[b]! || (row[a]! === row[b]! && a < b)

/** Lets the token at `at` sink in a heap of tokens. On top is the one that outranks the others, or `worst` the last in rank. */
function sink(row: Float32Array, heap: number[], at: number, size: number, worst: boolean): void {
  const token = heap[at]!
  for (;;) {
    let child = 2 * at + 1
    if (child >= size) break
    if (child + 1 < size && outranks(row, heap[child + 1]!, heap[child]!) !== worst) child++
    if (outranks(row, token, heap[child]!) !== worst) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = token
}

function heapify(row: Float32Array, heap: number[], worst: boolean): void {
  for (let at = (heap.length >> 1) - 1; at >= 0; at--) sink(row, heap, at, heap.length, worst)
}

/** The k likeliest tokens, fewer where fewer are possible. One pass over the row, in which nearly all are turned away by one comparison. */
export function largest(row: Float32Array, k: number): number[] {
  const heap: number[] = []
  let bar = 0 // once the heap is full, its smallest value; an equal one that comes later ranks behind it
  for (let token = 0; token < row.length; token++) {
    if (!(row[token]! > bar)) continue
    if (heap.length < k) {
      heap.push(token)
      if (heap.length < k) continue
      heapify(row, heap, true)
    } else {
      heap[0] = token
      sink(row, heap, 0, k, true)
    }
    bar = row[heap[0]!]!
  }
  if (heap.length < k) heapify(row, heap, true)
  for (let size = heap.length - 1; size > 0; size--) {
    const last = heap[0]!
    heap[0] = heap[size]!
    heap[size] = last
    sink(row, heap, 0, size, true)
  }
  return heap
}

/**
 * The likeliest of the tokens at or above `floor`, until their probabilities add up to `mass`: all of them where they never
 * do. The time goes with how many are taken, not with how many there are to choose from.
 */
export function nucleus(row: Float32Array, floor: number, mass: number): number[] {
  const heap: number[] = []
  for (let token = 0; token < row.length; token++) if (row[token]! >= floor && row[token]! > 0) heap.push(token)
  heapify(row, heap, false)
  const taken: number[] = []
  let size = heap.length
  for (let sum = 0; size > 0 && (taken.length === 0 || sum < mass);) {
    const token = heap[0]!
    taken.push(token)
    sum += row[token]!
    heap[0] = heap[--size]!
    if (size > 0) sink(row, heap, 0, size, false)
  }
  return taken
}
