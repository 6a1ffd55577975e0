/** What can be done with a dataset from more than one place. */
import type { DatasetSummary } from '../../../shared/contract/types.ts'
import { api } from '../../lib/api.ts'
import { saveFile } from '../../lib/save-file.ts'

export async function exportDataset(id: string): Promise<void> {
  const { name, text } = await api.datasets.export({ id })
  saveFile(name, text, 'application/jsonl')
}

/** What the Train page starts with. */
export const trainQuery = (one: DatasetSummary): Record<string, string> =>
  one.use === 'traces' ? { kind: 'sft', train: one.path } : { kind: 'grpo', tasks: one.path }
