/** Named values that outlive the program, each as JSON. */
import type { Db } from './db.ts'

export type SettingStore = {
  readonly get: <T>(name: string, otherwise: T) => T
  readonly set: (name: string, value: unknown) => void
}

export function settingStore(db: Db): SettingStore {
  const get = db.prepare('SELECT value FROM settings WHERE name = ?').pluck()
  const set = db.prepare('INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)')
  return {
    get: <T>(name: string, otherwise: T): T => {
      const text = get.get(name) as string | undefined
      return text === undefined ? otherwise : (JSON.parse(text) as T)
    },
    set: (name, value) => void set.run(name, JSON.stringify(value))
  }
}
