/**
 * Goal: a call that was executed is never executed again, although the cache is bounded.
 * Method: the pure cache, also with XIDs that come round.
 */
import { assert, describe, it } from "@effect/vitest"
import { nameOf, ReplyCache } from "../../../src/actors/rpc/internal/replyCache.ts"
import { authNone, type Call } from "../../../src/schema/rpc/RpcMessage.ts"

const limits = { maxBytes: 1_000 }

const make = (settings = limits) => new ReplyCache<string, string>(settings)

const execute = (cache: ReplyCache<string, string>, xid: number, bytes = 1): void => {
  cache.finish(cache.begin(xid >>> 0, "call", "here"), { reply: `reply ${xid >>> 0}`, bytes })
}

const call: Call = {
  _tag: "Call",
  xid: 1,
  program: 2,
  version: 3,
  procedure: 4,
  credential: authNone,
  verifier: authNone,
  args: new Uint8Array(0)
}

describe("a reply cache", () => {
  it("B2: finds a call that is executing, and one that was answered", () => {
    const cache = make()
    const entry = cache.begin(7, "call", "first connection")
    assert.strictEqual(cache.find(7, "call"), entry)
    assert.strictEqual(cache.executing, 1)
    cache.finish(entry, { reply: "reply", bytes: 5 })
    const found = cache.find(7, "call")
    assert.isTrue(found !== "forgotten" && found?.answer?.reply === "reply")
    assert.deepStrictEqual([cache.executing, cache.bytes], [0, 5])
  })

  it("G1: takes a call of the same XID and other bytes for another call", () => {
    const cache = make()
    execute(cache, 7)
    assert.isUndefined(cache.find(7, "another call"))
    const message = Uint8Array.of(1, 2, 3)
    assert.notStrictEqual(nameOf(call, message), nameOf(call, Uint8Array.of(1, 2, 4)))
    assert.notStrictEqual(nameOf(call, message), nameOf({ ...call, procedure: 5 }, message))
  })

  for (const first of [1, 2 ** 32 - 10]) {
    it(`G11 G23: keeps two windows, and has forgotten what is older: from ${first}`, () => {
      const cache = make()
      cache.granted(20)
      for (let index = 0; index < 100; index++) execute(cache, first + index)
      const found = Array.from({ length: 100 }, (_, index) =>
        cache.find((first + index) >>> 0, "call")
      )
      assert.isTrue(found.slice(0, 60).every((one) => one === "forgotten"))
      assert.isTrue(found.slice(60).every((one) => typeof one === "object"))
      assert.isUndefined(cache.find((first + 100) >>> 0, "call"))
    })
  }

  it("G11: keeps no more bytes than its limit, and the newest reply in any case", () => {
    const cache = make()
    for (let xid = 1; xid <= 10; xid++) execute(cache, xid, 400)
    assert.strictEqual(cache.bytes, 800)
    assert.strictEqual(cache.find(8, "call"), "forgotten")
    execute(cache, 11, 5_000)
    assert.strictEqual(cache.bytes, 5_000)
    assert.notStrictEqual(cache.find(11, "call"), "forgotten")
  })

  it("G11: keeps a call that executes however many end after it", () => {
    const cache = make()
    const slow = cache.begin(1, "call", "here")
    for (let xid = 2; xid < 200; xid++) execute(cache, xid)
    assert.strictEqual(cache.find(1, "call"), slow)
    cache.finish(slow, { reply: "at last", bytes: 1 })
    assert.strictEqual(cache.find(1, "call"), slow)
  })

  it("C4: keeps nothing of the connection on which a call was answered", () => {
    const cache = make()
    const entry = cache.begin(1, "call", "here")
    assert.strictEqual(cache.finish(entry, { reply: "reply", bytes: 1 }), "here")
    assert.isUndefined(entry.waiter)
  })

  it("G11: knows a call that came before it was forgotten from one that began before", () => {
    const cache = make()
    const fresh = cache.see(1)
    const executing = cache.begin(2, "call", "here")
    const again = cache.see(2)
    cache.finish(executing, { reply: "reply", bytes: 1 })
    for (let xid = 3; xid < 200; xid++) execute(cache, xid)
    assert.isUndefined(cache.find(1, "call", fresh))
    assert.strictEqual(cache.find(2, "call", again), "forgotten")
    assert.strictEqual(cache.find(1, "call"), "forgotten")
  })
})
