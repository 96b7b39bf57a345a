/**
 * Goal: two endpoints open, wait for each other and move bytes. Method: two hosts on a simulated
 * fabric, on real time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { card, onHost, pathOf } from "./simHosts.ts"

describe("two endpoints", () => {
  it.live("open, get ready and write", () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const a = yield* card(network, "a").pipe(Effect.provide(onHost(fabric, network, "a")))
      const b = yield* card(network, "b").pipe(Effect.provide(onHost(fabric, network, "b")))
      const link = yield* a.store.open(pathOf("b"))
      const target = yield* b.nic.domain.register({
        memory: 64,
        access: ["local-write", "remote-write"]
      })
      const source = yield* a.nic.domain.register({ memory: 64 })
      source.bytes.fill(7)
      const request = new SendRequest()
      request.opcode = "write"
      request.scatterList.add(source)
      request.remote(target.remoteKey, target.address)
      assert.strictEqual(link.post(request), "accepted")
      yield* a.nic.completions.ready
      const batch = new CompletionBatch()
      assert.strictEqual(a.nic.completions.poll(batch), 1)
      assert.strictEqual(batch.at(0).status, "success")
      assert.strictEqual(target.bytes[63], 7)
      const back = yield* b.store.open(pathOf("a"))
      assert.isTrue(back.isOpen)
      assert.strictEqual(fabric.counters.earlyPosts, 0)
    })
  )
})
