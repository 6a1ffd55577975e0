/** Bundles the desktop app: the host and its worker as two entries, the preload, the page. Dependencies stay outside. */
import { fileURLToPath } from 'node:url'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import tailwind from '@tailwindcss/vite'
import { defineConfig } from 'electron-vite'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  main: {
    build: {
      rollupOptions: {
        input: {
          index: at('src/main/index.ts'),
          cli: at('src/main/cli.ts'),
          worker: at('src/main/worker.ts'),
          'symbolic-worker': at('src/main/symbolic-worker.ts')
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
  renderer: {
    root: at('src/renderer'),
    // Nothing inlined: the page's policy allows fonts and pictures from its own origin only.
    build: { rollupOptions: { input: at('src/renderer/index.html') }, assetsInlineLimit: 0 },
    plugins: [tailwind(), svelte()]
  }
})
