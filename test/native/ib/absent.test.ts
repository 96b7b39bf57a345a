/**
 * Goal: what is missing on a machine is a typed error that says what to do, and nothing is loaded
 * before it is asked for.
 * Method: libraries that are not there, koffi that cannot be found (in a process of its own), and a
 * stand-in for the libraries whose calls fail as they do without rights, memory or a device.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { afterEach, vi } from "vitest"
import { lockLimit } from "../../../src/native/ib/failures.ts"
import { loadFrom } from "../../../src/native/ib/library.ts"
import { peer } from "../../peers.ts"
import { makeStub, stubNeeds } from "./stub.ts"

const src = new URL("../../../src/", import.meta.url)

/** What a module program prints. */
const printed = (program: string): string =>
  execFileSync(process.execPath, ["--no-warnings", "--input-type=module", "-e", program], {
    cwd: fileURLToPath(src)
  }).toString()

const hooks = (body: string) => `
  import { registerHooks } from "node:module"
  registerHooks({ resolve: (name, context, next) => { ${body}; return next(name, context) } })
  const Effect = await import("effect/Effect")
  const Layer = await import("effect/Layer")
  const { Verbs } = await import("./native/verbs/Verbs.ts")
  const { layer } = await import("./native/ib/IbVerbs.ts")
`

describe("a machine without the library", () => {
  it.effect("says what to install", () =>
    Effect.gen(function* () {
      const none = "libnosuch.so.1"
      const error = yield* Effect.flip(loadFrom({ ibverbs: none, rdmacm: none, c: none }))
      assert.include(error.message, "ib: no libibverbs and librdmacm: install rdma-core")
      assert.include(error.message, none)
    })
  )

  it("says so of koffi, and loads nothing before a device is asked for", () => {
    const program = `${hooks(`
      if (name === "koffi") { globalThis.asked = true; throw new Error("Cannot find koffi") }
    `)}
      const use = Effect.gen(function* () {
        const verbs = yield* Verbs
        const before = globalThis.asked === true
        const error = yield* Effect.flip(verbs.devices)
        const route = yield* verbs.route("127.0.0.1")
        return JSON.stringify([before, error._tag, error.message, String(route)])
      })
      console.log(await Effect.runPromise(Effect.provide(use, layer())))
    `
    const [before, tag, message, route] = JSON.parse(printed(program))
    assert.deepStrictEqual([before, tag, route], [false, "Unsupported", "undefined"])
    assert.match(message, /^ib: no koffi: npm install koffi/)
  })
})

describe("the limit of locked memory", () => {
  it("is read as the kernel prints it", () => {
    const line = (value: string) => `Max locked memory         ${value}  8388608   bytes\n`
    assert.strictEqual(lockLimit(line("65536  ")), 65_536)
    assert.strictEqual(lockLimit(line("unlimited")), Infinity)
  })
})

peer(stubNeeds, "a machine with the library", () => {
  let stub: Awaited<ReturnType<typeof makeStub>>
  beforeAll(async () => {
    stub = await makeStub()
  })
  afterEach(() => {
    assert.strictEqual(stub.live(), 0)
    vi.unstubAllEnvs()
  })

  it.effect("and no device has none, and says how to get one", () =>
    Effect.gen(function* () {
      vi.stubEnv("STUB_NONE", "1")
      const provider = stub.provider()
      assert.deepStrictEqual(yield* provider.devices, [])
      const error = yield* Effect.flip(Effect.scoped(provider.open()))
      assert.include(error.message, "rdma link add rxe0 type rxe")
    })
  )

  it.effect("and no driver in the kernel says so", () =>
    Effect.gen(function* () {
      vi.stubEnv("STUB_FAIL", "ibv_get_device_list=38")
      const error = yield* Effect.flip(stub.provider().devices)
      assert.strictEqual(error._tag, "Unsupported")
      assert.include(error.message, "load the driver of the NIC and ib_uverbs")
    })
  )

  it.effect("and no right to use the device says which", () =>
    Effect.gen(function* () {
      vi.stubEnv("STUB_FAIL", "ibv_open_device=13")
      const error = yield* Effect.flip(Effect.scoped(stub.provider().open()))
      assert.strictEqual(error._tag, "Unsupported")
      assert.include(error.message, "/dev/infiniband/uverbs")
      assert.include(error.message, "EACCES")
    })
  )

  it.effect("and a device that cannot be opened all the way leaves nothing open", () =>
    Effect.gen(function* () {
      for (const call of ["ibv_query_device", "ibv_create_comp_channel"]) {
        vi.stubEnv("STUB_FAIL", `${call}=5`)
        const error = yield* Effect.flip(Effect.scoped(stub.provider().open("stub0")))
        assert.include(error.message, call)
        assert.strictEqual(stub.live(), 0)
      }
      vi.stubEnv("STUB_FAIL", "rdma_create_event_channel=19")
      const error = yield* Effect.flip(Effect.scoped(stub.provider().open("stub0")))
      assert.strictEqual(error._tag, "Unsupported")
    })
  )

  for (const [what, call] of [
    ["region", "ibv_reg_mr"],
    ["completion queue", "ibv_create_cq"],
    ["queue pair", "ibv_create_qp"],
    ["domain", "ibv_alloc_pd"]
  ] as const) {
    it.effect(`and too little memory that may be locked: a ${what} says so`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const device = yield* stub.provider().open("stub0")
          const domain = yield* device.protectionDomain
          const sendCompletions = yield* device.completionQueue(8)
          vi.stubEnv("STUB_FAIL", `${call}=12`)
          const make = {
            ibv_reg_mr: Effect.asVoid(domain.register({ memory: 4096 })),
            ibv_create_cq: Effect.asVoid(device.completionQueue(8)),
            ibv_create_qp: Effect.asVoid(domain.queuePair({ sendCompletions })),
            ibv_alloc_pd: Effect.asVoid(device.protectionDomain)
          }
          const error = yield* Effect.flip(make[call])
          assert.strictEqual(error._tag, "LimitExceeded")
          if (Number.isFinite(lockLimit())) assert.include(error.message, "RLIMIT_MEMLOCK")
        })
      )
    )
  }

  it.effect("and half of a region: what was registered is let go of", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const device = yield* stub.provider().open()
        const domain = yield* device.protectionDomain
        const before = stub.live()
        const access = ["local-write", "remote-write"] as const
        yield* Effect.scoped(domain.register({ memory: 4096, access }))
        assert.strictEqual(stub.live(), before)
      })
    )
  )
})
