import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // They boot a virtual machine: `npm run test:vm`.
    exclude: ["test/vm/**"],
    // Many tests start threads and processes that run the sources. Those start in a third of the
    // time where the JavaScript of the TypeScript is kept.
    env: {
      NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/node", import.meta.url))
    },
    // By default one processor is left out, which is half of two.
    maxWorkers: "100%",
    // Only what hangs takes so long, on a machine as busy as one likes.
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
