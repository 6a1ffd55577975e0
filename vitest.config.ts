import { defineConfig } from 'vitest/config'

/**
 * Tests are sorted by what they need. `npm test` runs `unit` (nothing but Node) and `engine` (the native library on the
 * CPU, models the tests build themselves); `model` needs ../shared/models, `gpu` an NVIDIA GPU, `vulkan` any Vulkan device,
 * and each skips with a sentence.
 */
const native = { pool: 'forks', maxWorkers: 1, fileParallelism: false } as const

/** Engine tests that hold a device to the same tolerances as the CPU. */
const onDevice = {
  include: [
    'test/device/**/*.test.ts',
    'test/engine/grad.test.ts',
    'test/engine/golden.test.ts',
    'test/engine/learn.test.ts'
  ],
  setupFiles: ['test/device/setup.ts'],
  ...native
}

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts', 'test/structure/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 15_000,
          sequence: { groupOrder: 0 }
        }
      },
      {
        // The host: store, wires, queue, the served app. Real SQLite, real processes, a scripted worker.
        test: {
          name: 'host',
          include: ['test/{store,wires,jobs,serve,faults}/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 30_000,
          sequence: { groupOrder: 0 }
        }
      },
      {
        test: {
          name: 'engine',
          include: ['test/engine/**/*.test.ts'],
          exclude: ['test/engine/**/*.slow.test.ts'],
          ...native,
          testTimeout: 60_000,
          sequence: { groupOrder: 1 }
        }
      },
      {
        test: {
          name: 'slow',
          include: ['test/engine/**/*.slow.test.ts', 'test/package/**/*.slow.test.ts'],
          ...native,
          testTimeout: 900_000,
          sequence: { groupOrder: 2 }
        }
      },
      {
        // The app in the system's Chromium, with a real worker and a real database. Needs `npm run build:page`.
        test: {
          name: 'e2e',
          expect: { poll: { timeout: 30_000 } },
          include: ['test/e2e/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 90_000,
          sequence: { groupOrder: 5 }
        }
      },
      {
        test: {
          name: 'model',
          include: ['test/model/**/*.test.ts'],
          ...native,
          testTimeout: 600_000,
          sequence: { groupOrder: 3 }
        }
      },
      {
        test: {
          name: 'gpu',
          ...onDevice,
          // cuBLAS multiplies F32 in TF32 unless it is told not to: the tests are of the graphs, at F32's tolerances
          env: { REASONSMITH_TEST_DEVICE: 'cuda', NVIDIA_TF32_OVERRIDE: '0' },
          testTimeout: 120_000,
          sequence: { groupOrder: 4 }
        }
      },
      {
        test: {
          name: 'vulkan',
          ...onDevice,
          // a software device takes many minutes for the engine's own files, which `gpu` runs too
          include: ['test/device/**/*.test.ts'],
          // By its number, since ggml-vulkan leaves out Mesa's software device unless it is asked for. Buffers of 16 MiB at
          // most (a GPU's are of 1 GiB), so that small graphs have scratch in several.
          env: {
            REASONSMITH_TEST_DEVICE: 'vulkan',
            GGML_VK_VISIBLE_DEVICES: '0',
            GGML_VK_SUBALLOCATION_BLOCK_SIZE: '16777216'
          },
          testTimeout: 600_000,
          sequence: { groupOrder: 5 }
        }
      }
    ]
  }
})
