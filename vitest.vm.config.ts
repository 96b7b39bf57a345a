import { defineConfig } from "vitest/config"

/** `npm run test:vm`: tests that boot a virtual machine, one at a time. */
export default defineConfig({
  test: {
    include: ["test/vm/*.vm.test.ts"],
    fileParallelism: false,
    testTimeout: 30_000
  }
})
