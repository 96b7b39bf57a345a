/**
 * Goal: a call that was executed is never executed again, although the cache is bounded.
 * Method: the pure cache, also with XIDs that come round.
 */
import { assert, describe, it } from "@effect/vitest"
import { nameOf, ReplyCache } from "../../../src/actors/rpc/internal/replyCache.ts"
import { nameIn, textOf } from "../../../src/actors/rpc/internal/replyRecords.ts"
import { authNone, type Call } from "../../../src/schema/rpc/RpcMessage.ts"

const limits = { maxBytes: 1_000 }

const named = { program: 2, version: 3, procedure: 4, bytes: 40, checksum: 5 }
const another = { ...named, checksum: 6 }

const make = (settings = limits) => new ReplyCache<string, string>(settings)

const execute = (cache: ReplyCache<string, string>, xid: number, bytes = 1): void => {
  cache.finish(cache.begin(xid >>> 0, named, "here"), { reply: `reply ${xid >>> 0}`, bytes })
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
    const entry = cache.begin(7, named, "first connection")
    assert.strictEqual(cache.find(7, named), entry)
    assert.strictEqual(cache.executing, 1)
    cache.finish(entry, { reply: "reply", bytes: 5 })
    const found = cache.find(7, named)
    assert.isTrue(found !== "forgotten" && found?.answer?.reply === "reply")
    assert.deepStrictEqual([cache.executing, cache.bytes], [0, 5])
  })

  it("G1: takes a call of the same XID and other bytes for another call", () => {
    const cache = make()
    execute(cache, 7)
    assert.isUndefined(cache.find(7, another))
    const message = Uint8Array.of(1, 2, 3)
    assert.notDeepEqual(nameOf(call, message), nameOf(call, Uint8Array.of(1, 2, 4)))
    assert.notDeepEqual(nameOf(call, message), nameOf({ ...call, procedure: 5 }, message))
  })

  it("G2: stores the name of a call as text, and knows it again", () => {
    const name = nameOf(call, Uint8Array.of(1, 2, 3))
    assert.strictEqual(textOf(name), `2.3.4.3.${name.checksum}`)
    assert.deepStrictEqual(nameIn(textOf(name)), name)
  })

  for (const first of [1, 2 ** 32 - 10]) {
    it(`G11 G23: keeps two windows, and has forgotten what is older: from ${first}`, () => {
      const cache = make()
      cache.granted(20)
      for (let index = 0; index < 100; index++) execute(cache, first + index)
      const found = Array.from({ length: 100 }, (_, index) =>
        cache.find((first + index) >>> 0, named)
      )
      assert.isTrue(found.slice(0, 60).every((one) => one === "forgotten"))
      assert.isTrue(found.slice(60).every((one) => typeof one === "object"))
      assert.isUndefined(cache.find((first + 100) >>> 0, named))
    })
  }

  it("G11: keeps no more bytes than its limit, and the newest reply in any case", () => {
    const cache = make()
    for (let xid = 1; xid <= 10; xid++) execute(cache, xid, 400)
    assert.strictEqual(cache.bytes, 800)
    assert.strictEqual(cache.find(8, named), "forgotten")
    execute(cache, 11, 5_000)
    assert.strictEqual(cache.bytes, 5_000)
    assert.notStrictEqual(cache.find(11, named), "forgotten")
  })

  it("G11: keeps a call that executes however many end after it", () => {
    const cache = make()
    const slow = cache.begin(1, named, "here")
    for (let xid = 2; xid < 200; xid++) execute(cache, xid)
    assert.strictEqual(cache.find(1, named), slow)
    cache.finish(slow, { reply: "at last", bytes: 1 })
    assert.strictEqual(cache.find(1, named), slow)
  })

  it("C4: keeps nothing of the connection on which a call was answered", () => {
    const cache = make()
    const entry = cache.begin(1, named, "here")
    assert.strictEqual(cache.finish(entry, { reply: "reply", bytes: 1 }), "here")
    assert.isUndefined(entry.waiter)
  })

  it("G11: knows a call that came before it was forgotten from one that began before", () => {
    const cache = make()
    const fresh = cache.see(1)
    const executing = cache.begin(2, named, "here")
    const again = cache.see(2)
    cache.finish(executing, { reply: "reply", bytes: 1 })
    for (let xid = 3; xid < 200; xid++) execute(cache, xid)
    assert.isUndefined(cache.find(1, named, fresh))
    assert.strictEqual(cache.find(2, named, again), "forgotten")
    assert.strictEqual(cache.find(1, named), "forgotten")
  })
})
