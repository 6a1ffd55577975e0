/** Stock llama.cpp, through node-llama-cpp's own interface and nothing of ours: what a program that loads an export computes. */
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'
import type { Llama, Token } from 'node-llama-cpp'
import type { LogitRows } from './logit-difference.ts'

export type StockAnswer = { readonly prompt: Int32Array; readonly tokens: readonly number[] }

export type Stock = {
  /** The logits along each answer: after its prompt, and after all but the last of its tokens. */
  rowsAlong(path: string, answers: readonly StockAnswer[], lora?: string): Promise<LogitRows[]>
  dispose(): Promise<void>
}

/** On the CPU. `contextTokens` must hold the longest prompt with its answer. */
export async function openStock(settings: { contextTokens: number; threads: number }): Promise<Stock> {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled
  })
  return {
    rowsAlong: (path, answers, lora) =>
      rowsAlong(llama, path, answers, { ...settings, ...(lora !== undefined && { lora }) }),
    dispose: () => llama.dispose()
  }
}

async function rowsAlong(
  llama: Llama,
  path: string,
  answers: readonly StockAnswer[],
  { contextTokens, threads, lora }: { contextTokens: number; threads: number; lora?: string }
): Promise<LogitRows[]> {
  const model = await llama.loadModel({ modelPath: path })
  try {
    const context = await model.createContext({
      contextSize: contextTokens,
      threads,
      ignoreMemorySafetyChecks: true,
      ...(lora !== undefined && { lora })
    })
    const sequence = context.getSequence()
    const after = async (tokens: readonly number[]): Promise<Float32Array> => {
      const last = tokens.at(-1) as Token
      const next = { generateNext: { token: true, logits: true, options: { temperature: 0 } } } as const
      const out = await sequence.controlledEvaluate([...(tokens.slice(0, -1) as Token[]), [last, next]])
      const logits = out.at(-1)?.next.logits
      if (!logits) throw new Error('node-llama-cpp gave no logits')
      const row = new Float32Array(logits.size)
      for (const [token, logit] of logits) row[token] = logit
      return row
    }
    const all: LogitRows[] = []
    for (const { prompt, tokens } of answers) {
      await sequence.clearHistory()
      const rows = [await after([...prompt])]
      for (const token of tokens.slice(0, -1)) rows.push(await after([token]))
      all.push(rows)
    }
    return all
  } finally {
    await model.dispose()
  }
}
