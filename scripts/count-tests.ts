/** `node scripts/count-tests.ts FOLDER`: prints passed and failed tests over all of vitest's JSON reports in a folder. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

type Report = {
  numPassedTests: number
  numFailedTests: number
  testResults: readonly { status: string; assertionResults: readonly unknown[] }[]
}

const folder = process.argv[2]
if (folder === undefined) throw new Error('usage: node scripts/count-tests.ts FOLDER')

let [passed, failed] = [0, 0]
for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
  const report = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report
  passed += report.numPassedTests
  // A file that could not be loaded has no tests to count.
  const unloaded = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0)
  failed += report.numFailedTests + unloaded.length
}
console.log(`${passed} ${failed}`)
