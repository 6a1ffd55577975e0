/** The machine and the libraries that numbers were made with, label to value, as a report prints them. */
import { cpus, release, totalmem, type } from 'node:os'
import type { Backend } from '../engine/backend.ts'
import { PINNED } from '../engine/ffi/libraries.ts'

/** With the device that computed, where there was one; library versions are checked against the pinned ones at load. */
export function environmentRecord(backend?: Backend): Record<string, string> {
  const processors = cpus()
  return {
    machine: `${processors[0]?.model.trim() || 'unknown processor'}, ${processors.length} logical cores, ${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    system: `${type()} ${release()}, ${process.arch}`,
    ...(backend && { device: `${backend.name} (${backend.description})`, threads: String(backend.threads) }),
    node: process.versions.node,
    'node-llama-cpp': PINNED['node-llama-cpp'],
    'llama.cpp': PINNED.llama,
    ggml: backend ? `${backend.native.versions.ggml} (${backend.native.versions.commit})` : PINNED.ggml
  }
}
