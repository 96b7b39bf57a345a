/**
 * Reports the result of a share to the process that has asked for it, as one line in a pipe. A file
 * would stay if that process were killed.
 */
import { writeSync } from "node:fs"
import { foundIn, resultPipe } from "./shares.ts"

/** A reporter of vitest. */
export default class ShareReporter {
  onTestCaseResult(test: { readonly meta: () => object }): void {
    const found = foundIn(test.meta())
    if (found !== undefined) writeSync(resultPipe, `${JSON.stringify(found)}\n`)
  }
}
