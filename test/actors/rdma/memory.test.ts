/**
 * Goal: memory is registered on the device that a NIC has, also if that device is replaced while
 * the memory is registered on another NIC.
 * Method: two NICs of plain objects, whose registrations the test holds back.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { register } from "../../../src/actors/rdma/Memory.ts"
import type { Nic } from "../../../src/actors/rdma/Nic.ts"
import { Released } from "../../../src/native/verbs/VerbsError.ts"
import { EpochSource } from "../../../src/schema/Epoch.ts"

const gone = new Released({ resource: "device", reason: "device-removed" })

/** A NIC whose registrations end as the effect says; the regions bear the device's name. */
const nicOf = (device: string, registered: Effect.Effect<void, Released>) => ({
  device: { name: device, info: { limits: { regionBytes: 2 ** 20 } } },
  domain: { register: () => Effect.as(registered, { device, length: 64, access: [] }) }
})

const devicesOf = (regions: ReadonlyArray<ReadonlyArray<unknown>>) =>
  regions.map(([region]) => (region as { device?: string } | undefined)?.device)

describe("memory", () => {
  for (const [name, first] of [
    ["that came back", Effect.fail(gone)],
    ["that was replaced", Effect.void]
  ] as const) {
    it.effect(`is registered on a device ${name} meanwhile`, () =>
      Effect.gen(function* () {
        const hold = yield* Deferred.make<void>()
        const nics = [nicOf("old", first), nicOf("other", Deferred.await(hold))]
        const registering = register(
          nics as unknown as ReadonlyArray<Nic>,
          "own",
          { memory: 64 },
          new EpochSource(1).next()
        )
        const fiber = yield* Effect.forkChild(registering, { startImmediately: true })
        nics[0] = nicOf("new", Effect.void)
        yield* Deferred.succeed(hold, undefined)
        const memory = yield* Fiber.join(fiber)
        assert.deepStrictEqual(devicesOf(memory.regions), ["new", "other"])
      })
    )
  }

  for (const [name, memory] of Object.entries({
    "half bytes": 1.5,
    "no bytes": 0,
    "a buffer that is not shared": new Uint8Array(16),
    nothing: undefined
  })) {
    it.effect(`is not ${name}`, () =>
      Effect.gen(function* () {
        const nics = [nicOf("own", Effect.void)] as unknown as ReadonlyArray<Nic>
        const wrong = { memory: memory as number }
        const refused = register(nics, "own", wrong, new EpochSource(1).next())
        const error = yield* Effect.flip(refused)
        assert.isTrue(error._tag === "InvalidAttribute" && error.attribute === "memory")
      })
    )
  }

  it.effect("is left out of a NIC whose device is gone", () =>
    Effect.gen(function* () {
      const nics = [nicOf("old", Effect.fail(gone)), nicOf("other", Effect.void)]
      const memory = yield* register(
        nics as unknown as ReadonlyArray<Nic>,
        "own",
        { memory: 64 },
        new EpochSource(1).next()
      )
      assert.deepStrictEqual(devicesOf(memory.regions), [undefined, "other"])
    })
  )
})
