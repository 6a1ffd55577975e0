/** Bundles the desktop app: the host and its worker as two entries, the preload, the page. Dependencies stay outside. */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'electron-vite'
import { page } from './vite.page.config.ts'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  main: {
    build: {
      rollupOptions: {
        input: {
          index: at('src/main/index.ts'),
          cli: at('src/main/cli.ts'),
          worker: at('src/main/worker.ts'),
          'symbolic-worker': at('src/main/symbolic-worker.ts'),
          'device-trial': at('src/main/device-trial.ts')
        }
      }
    }
  },
  preload: {
    build: {
      // A sandboxed preload is CommonJS.
      rollupOptions: {
        input: at('src/main/window/preload.ts'),
        output: { format: 'cjs', entryFileNames: 'preload.cjs' }
      }
    }
  },
  renderer: page
})
