/**
 * Goal: the checker of the simulation of endpoints notices each promise that is broken, by its
 * name, and says nothing while all of them are kept.
 * Method: it is told by hand what a run would tell it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TransferFailed } from "../../../src/actors/transfer/TransferError.ts"
import { TransferChecker } from "../../../src/testing/internal/endpoint/transferChecker.ts"

const failed = (reason: TransferFailed["reason"]) =>
  new TransferFailed({
    peer: "b",
    reason,
    moved: 0,
    bytes: 8,
    unfinished: [0],
    detail: "",
    fault: undefined
  })

/** A run of a host `a` that writes eight bytes to a host `b`. */
const scene = () => {
  let now = 1_000
  const checker = new TransferChecker(() => now)
  const inbox = () => {
    const bytes = new Uint8Array(16)
    checker.registered("b", bytes)
    return bytes
  }
  checker.begin("a", { description: Effect.die("nobody asks") })
  const first = inbox()
  const local = Uint8Array.from({ length: 8 }, (_, index) => index + 1)
  const wanted = { by: "a", peer: "b", isWrite: true, local, at: 4 }
  const pass = (millis: number) => void (now += millis)
  return { checker, first, inbox, local, pass, wanted }
}

const moved = Exit.succeed({ moved: 8, bytes: 8 })
const stored = (...types: ReadonlyArray<string>) => types.map((type) => ({ type, id: "a-1" }))

describe("the checker of transfers", () => {
  it("finds what is said to have moved, also in memory that came meanwhile", () => {
    const { checker, inbox, local, wanted } = scene()
    const ticket = checker.accept(wanted)
    inbox().set(local, wanted.at)
    checker.end(ticket, moved)
    assert.isUndefined(checker.violation)
  })

  it("T1: misses what is in parts in two registrations, and tells the events that matter", () => {
    const { checker, first, inbox, local, pass, wanted } = scene()
    const ticket = checker.accept(wanted)
    first.set(local.subarray(0, 4), wanted.at)
    pass(5)
    inbox().set(local.subarray(4), wanted.at + 4)
    pass(5)
    checker.end(ticket, moved)
    assert.strictEqual(checker.violation?.promise, "there")
    assert.deepStrictEqual(checker.violation?.events, [
      "1000.000 ms: it is accepted",
      "1005.000 ms: b registers its inbox anew",
      "1010.000 ms: it ends as moved, with 4 or 4 of 8 bytes"
    ])
  })

  it("does not look for it in memory that had gone before", () => {
    const { checker, first, inbox, local, wanted } = scene()
    first.set(local, wanted.at)
    inbox()
    checker.end(checker.accept(wanted), moved)
    assert.strictEqual(checker.violation?.promise, "there")
  })

  it("notices a transfer that ends twice", () => {
    const { checker, first, local, wanted } = scene()
    const ticket = checker.accept(wanted)
    first.set(local, wanted.at)
    checker.end(ticket, moved)
    checker.end(ticket, moved)
    assert.strictEqual(checker.violation?.promise, "once")
  })

  it("notices a durable transfer with two ends", () => {
    const { checker, first, local, wanted } = scene()
    const order = checker.order(wanted)
    first.set(local, wanted.at)
    checker.endOrder(order, moved)
    const promise = () => checker.violation?.promise
    checker.endOrder(order, moved)
    assert.isUndefined(promise())
    checker.endOrder(order, Exit.fail(failed("attempts-exhausted")))
    assert.strictEqual(promise(), "once")
  })

  it("T4: lets no durable transfer fail", () => {
    const { checker, wanted } = scene()
    checker.endOrder(checker.order(wanted), Exit.fail(failed("peer-unreachable")))
    assert.strictEqual(checker.violation?.promise, "succeeds")
  })

  it("notices what a journal holds too often, or not at all", () => {
    const audited = (isHeard: boolean, ...types: ReadonlyArray<string>) => {
      const { checker, first, local, wanted } = scene()
      const order = checker.order(wanted)
      first.set(local, wanted.at)
      if (isHeard) checker.endOrder(order, moved)
      checker.audit("a", stored(...types))
      return checker.violation?.promise
    }
    assert.isUndefined(audited(true, "Accepted", "Ended"))
    assert.strictEqual(audited(true, "Accepted", "Ended", "Ended"), "once")
    assert.strictEqual(audited(true, "Accepted", "Accepted", "Ended"), "once")
    assert.strictEqual(audited(true), "once")
    assert.strictEqual(audited(true, "Accepted"), "ends")
    assert.strictEqual(audited(false, "Accepted", "Ended"), "ends")
  })

  it("lets a transfer fail under faults for its reasons, and for no others", () => {
    const after = (reason: TransferFailed["reason"], within?: number, millis = 10) => {
      const { checker, pass, wanted } = scene()
      const ticket = checker.accept({ ...wanted, within })
      pass(millis)
      checker.end(ticket, Exit.fail(failed(reason)))
      return checker.violation?.promise
    }
    for (const reason of ["peer-unreachable", "attempts-exhausted", "no-such-memory"] as const) {
      assert.isUndefined(after(reason))
    }
    for (const reason of ["refused", "cancelled", "closed", "memory-released"] as const) {
      assert.strictEqual(after(reason), "succeeds")
    }
    assert.isUndefined(after("deadline", 10))
    assert.strictEqual(after("deadline", 20), "succeeds")
    assert.strictEqual(after("deadline"), "succeeds")
  })

  it("lets none fail that begins when nothing stands in its way", () => {
    const { checker, wanted } = scene()
    checker.settledAt = 1_000
    checker.end(checker.accept(wanted), Exit.fail(failed("peer-unreachable")))
    assert.strictEqual(checker.violation?.promise, "succeeds")
  })

  it("does not wait for what a host had under way when it died", () => {
    const { checker, wanted } = scene()
    checker.accept(wanted)
    assert.lengthOf(checker.underWay, 1)
    checker.begin("a", { description: Effect.die("nobody asks") })
    assert.lengthOf(checker.underWay, 0)
    checker.order(wanted)
    checker.begin("a", { description: Effect.die("nobody asks") })
    assert.lengthOf(checker.underWay, 1)
  })

  it("notices a transfer that breaks", () => {
    const { checker, wanted } = scene()
    checker.end(checker.accept(wanted), Exit.die(new Error("a bug")))
    assert.strictEqual(checker.violation?.promise, "sound")
  })

  it("has nothing to say of a transfer that its caller cancelled", () => {
    const { checker, wanted } = scene()
    checker.end(checker.accept(wanted), Exit.interrupt(1))
    assert.isUndefined(checker.violation)
  })
})
