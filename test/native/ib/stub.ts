/** Libraries that stand in for libibverbs and librdmacm, compiled for a test or a bench. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import koffi from "koffi"
import { makeProvider } from "../../../src/native/ib/device.ts"
import { loadFrom } from "../../../src/native/ib/library.ts"
import type { Settings } from "../../../src/native/ib/settings.ts"

const source = fileURLToPath(new URL("../../../bench/ffi/stub.c", import.meta.url))

/** What its compilation needs. */
export const stubNeeds = [
  "gcc",
  "/usr/include/infiniband/verbs.h",
  "/usr/include/rdma/rdma_cma.h"
] as const

const files = (stub: string) => ({ ibverbs: stub, rdmacm: stub, c: "libc.so.6" })

/** Compiles the stand-in and loads it. */
export const makeStub = async () => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-stub-"))
  const file = join(folder, "stub.so")
  try {
    execFileSync("gcc", ["-O2", "-shared", "-fPIC", "-o", file, source])
    const handle = koffi.load(file)
    const libraries = Effect.succeed(await Effect.runPromise(loadFrom(files(file))))
    return {
      provider: (settings: Settings = {}) => makeProvider(settings, libraries),
      /** Objects that are there. */
      live: handle.func("int stub_live()") as () => number,
      /** Objects that were to be destroyed before what was made on them. */
      violations: handle.func("int stub_violations()") as () => number,
      /** An asynchronous event of a context. */
      event: handle.func("stub_event", "void", ["uintptr_t", "uintptr_t", "int"]) as (
        context: number,
        element: number,
        type: number
      ) => void,
      /** Nanoseconds of each post with its completion, in C. */
      loop: handle.func("stub_loop", "double", ["uintptr_t", "uintptr_t", "int"]) as (
        queuePair: number,
        completionQueue: number,
        count: number
      ) => number
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
