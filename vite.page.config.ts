/** Bundles the page alone, for `reasonsmith serve` and for the tests; electron.vite.config.ts takes the same settings. */
import { fileURLToPath } from 'node:url'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import tailwind from '@tailwindcss/vite'
import { defineConfig } from 'vite'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export const page = {
  root: at('src/renderer'),
  base: './',
  // Nothing inlined: the page's policy allows fonts and pictures from its own origin only.
  build: {
    outDir: at('out/renderer'),
    emptyOutDir: true,
    rollupOptions: { input: at('src/renderer/index.html') },
    assetsInlineLimit: 0
  },
  plugins: [tailwind(), svelte()]
}

export default defineConfig(page)
