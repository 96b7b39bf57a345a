/**
 * Goal: on a real driver the provider through libibverbs keeps the contract of providers, survives
 * misuse, leaves nothing, and carries endpoints whose gate loses no work request.
 * Method: programs in a virtual machine with Linux's soft-RoCE, which all suites share. Each prints
 * a line for each of its tests; what they demand stands in `test/vm/ib`. Debian's own programs show
 * that the device works without us.
 */
import { existsSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { wideOr } from "../wide.ts"
import type { Line } from "./ib/report.ts"
import { Machine, onMachine } from "./machine.ts"
import { makePrograms } from "./programs.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** How long a program may take: a busy machine without KVM is 20 times slower than a quiet one. */
const timeoutSeconds = 1200
const timeout = (timeoutSeconds + 60) * 1000

let programs = ""
beforeAll(async () => {
  programs = await makePrograms()
})
afterAll(() => rmSync(programs, { recursive: true }))

/** Runs a program of `test/vm/ib`; gives its lines, of which none may tell of a failure. */
const passes = Effect.fnUntraced(function* (program: string, atLeast: number, variables = "") {
  const { run } = yield* Machine
  const node = `${root}node_modules/.bin/node --expose-gc ${programs}/${program}.mjs`
  const { output, status } = yield* run(`${variables} timeout ${timeoutSeconds} ${node}`)
  const lines = output
    .split("\n")
    .filter((line) => line.startsWith('{"name"'))
    .map((line): Line => JSON.parse(line))
  const failed = lines.filter(({ failure }) => failure !== undefined)
  assert.deepStrictEqual(failed, [])
  // A signal, or an end too soon, is the crash of what comes after the last line.
  assert.strictEqual(status, 0, output)
  assert.isAtLeast(lines.length, atLeast, output)
})

onMachine(
  "a machine with soft-RoCE",
  (it) => {
    it.effect("has a device that two programs of Debian talk through", () =>
      Effect.gen(function* () {
        const { run } = yield* Machine
        assert.include((yield* run("rdma link")).output, "rxe0/1 state ACTIVE")
        const ping = "ibv_rc_pingpong -d rxe0 -g 1 -n 50"
        // The client is refused until the server listens, then both end.
        const { output, status } = yield* run(
          `timeout 60 ${ping} >/tmp/server & until ${ping} 10.9.0.1; do sleep 0.2; done; wait`
        )
        assert.strictEqual(status, 0, output)
        assert.include(output, "50 iters in")
      })
    )

    it.effect("sees the files of this machine, and changes none of them", () =>
      Effect.gen(function* () {
        const { run } = yield* Machine
        const mark = `${root}test/vm/mark`
        const { status } = yield* run(`test -e ${root}package.json && touch ${mark}`)
        assert.strictEqual(status, 0)
        assert.isFalse(existsSync(mark))
      })
    )

    it.effect("keeps the contract of providers", () => passes("contract", 70), timeout)

    it.effect("refuses misuses, and none ends by a signal", () => passes("misuses", 40), timeout)

    it.effect(
      "lives and ends with its device",
      () => {
        const rounds = wideOr(40, 10)
        return passes("lifetimes", 4, `ROUNDS=${rounds}`)
      },
      timeout
    )

    it.effect("ends with its device, and comes back with it", () => passes("removal", 1), timeout)

    it.effect(
      "ends with a program that leaves work posted",
      () =>
        Effect.gen(function* () {
          const { run } = yield* Machine
          const program = `${root}node_modules/.bin/node ${programs}/leaves.mjs`
          assert.strictEqual((yield* run(`timeout 120 ${program}`)).status, 7)
          const { output } = yield* run("rdma resource show qp")
          assert.notInclude(output, "node")
        }),
      timeout
    )

    it.effect(
      "carries endpoints with and without their gate",
      () => passes("endpoints", 3),
      timeout
    )

    it.effect(
      "carries transfers between two devices, over bad links",
      () => passes("twoDevices", 3),
      timeout
    )

    it.effect("carries files of the kernel's NFS server", () => passes("files", 3), timeout)
  },
  "rxe"
)
