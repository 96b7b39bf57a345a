import { defineConfig } from "vitest/config"

/** The tests that `npm run mutate` has chosen, and no others. */
export default defineConfig({
  test: {
    include: (process.env["MUTATE_TESTS"] ?? "").split(","),
    testTimeout: 20_000,
    hookTimeout: 20_000
  }
})
