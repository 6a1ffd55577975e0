/** Bundles the page alone, for `reasonsmith serve` and for the tests; electron.vite.config.ts takes the same settings. */
import { fileURLToPath } from 'node:url'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import tailwind from '@tailwindcss/vite'
import { defineConfig } from 'vite'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/**
 * `import { X } from '@lucide/svelte'` as one import an icon: the package's index would have all of its 1,700 icons
 * compiled for the forty that are used.
 */
const iconsByName = {
  name: 'icons-by-name',
  enforce: 'pre' as const,
  transform(code: string, id: string): string | undefined {
    if (id.includes('node_modules') || !/\.(svelte|ts)$/.test(id) || !code.includes('@lucide/svelte')) return undefined
    return code.replace(/import \{([^}]+)\} from '@lucide\/svelte'/g, (_, names: string) =>
      names
        .split(',')
        .map((name) => name.trim().split(/\s+as\s+/))
        .filter(([name]) => name !== undefined && name !== '')
        .map(([name, own]) => `import ${own ?? name} from '@lucide/svelte/icons/${kebab(name!)}'`)
        .join('; ')
    )
  }
}
const kebab = (name: string): string =>
  name.replace(/([a-z])([A-Z0-9])|([0-9])([A-Z])|([A-Z])([A-Z][a-z])/g, '$1$3$5-$2$4$6').toLowerCase()

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
  plugins: [iconsByName, tailwind(), svelte()]
}

export default defineConfig(page)
