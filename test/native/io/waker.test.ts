/**
 * Goal: the main thread is woken at once for what somebody may wait for, and seldom for the rest.
 * Method: a doorbell in shared memory with nobody behind it, which shows whether it was rung.
 */
import { assert, describe, it } from "@effect/vitest"
import { setTimeout as sleep } from "node:timers/promises"
import { detailCharacters } from "../../../src/native/io/internal/cutText.ts"
import { Doorbell, doorbellBytes } from "../../../src/native/io/internal/doorbell.ts"
import {
  decodeReason,
  encodeReason,
  resetReason
} from "../../../src/native/io/internal/messages.ts"
import type { EndReason } from "../../../src/native/io/internal/messages.ts"
import { WakeCoalescer } from "../../../src/native/io/internal/wakeCoalescer.ts"

/** A waker whose sleeper lies down again before each turn; tells whether it was woken. */
const sleeper = () => {
  const bell = new Doorbell(new Int32Array(new SharedArrayBuffer(doorbellBytes)))
  const waker = new WakeCoalescer(bell)
  const isWoken = (): boolean => !bell.takeSleeper()
  const turn = (): boolean => {
    bell.arm()
    waker.turnEnds()
    return isWoken()
  }
  return { bell, isWoken, turn, waker }
}

describe("the main thread is woken", () => {
  it("at once for news that comes alone", () => {
    assert.isTrue(sleeper().turn())
  })

  it("for news behind other news a little later, without more coming", async () => {
    const { bell, isWoken, turn } = sleeper()
    turn()
    assert.isFalse(turn())
    bell.arm()
    await sleep(50)
    assert.isTrue(isWoken())
  })

  it("not again when no news has come since", async () => {
    const { bell, isWoken, turn } = sleeper()
    turn()
    bell.arm()
    await sleep(50)
    assert.isFalse(isWoken())
    assert.isTrue(turn())
  })

  it("at once for what is awaited, however much news came before", () => {
    const { turn, waker } = sleeper()
    turn()
    assert.isFalse(turn())
    waker.urgent()
    assert.isTrue(turn())
    waker.bytes(10)
    assert.isTrue(turn())
  })

  it("for news that was held back when somebody may wait for it, and only then", () => {
    const { bell, isWoken, turn, waker } = sleeper()
    turn()
    turn()
    bell.arm()
    waker.flushDeferred()
    assert.isTrue(isWoken())
    bell.arm()
    waker.flushDeferred()
    assert.isFalse(isWoken())
  })

  it("for what is awaited, also when news was told between its record and the turn's end", () => {
    const { turn, waker } = sleeper()
    turn()
    turn()
    waker.urgent()
    waker.flushDeferred()
    assert.isTrue(turn())
  })

  it("for bulk when no more of it comes, or too much lies there", () => {
    const { turn, waker } = sleeper()
    waker.bytes(20_000)
    assert.isFalse(turn())
    assert.isTrue(turn())
    waker.bytes(4_194_304)
    assert.isTrue(waker.isOverdue)
    assert.isTrue(turn())
  })

  it("for bulk that comes slowly, however long it goes on", async () => {
    const { turn, waker } = sleeper()
    waker.bytes(20_000)
    assert.isFalse(turn())
    await sleep(10)
    waker.bytes(20_000)
    assert.isTrue(turn())
    waker.bytes(20_000)
    assert.isFalse(turn())
  })
})

describe("the reason of a lane's end", () => {
  it("L3: names a failure that is no peer's end, in a text that is cut", () => {
    const error = Object.assign(new Error("x".repeat(10_000)), { code: "ERR_SSL_ALERT" })
    const reason = resetReason(error)
    assert.isTrue(reason.kind === "peer-reset" && reason.code.startsWith("ERR_SSL_ALERT: xxx"))
    assert.isTrue(reason.kind === "peer-reset" && reason.code.length === detailCharacters)
    const gone = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })
    assert.deepStrictEqual(resetReason(gone), { kind: "peer-reset", code: "ECONNRESET" })
  })

  const reasons: ReadonlyArray<EndReason> = [
    { kind: "peer-closed", missing: 7 },
    { kind: "peer-reset", code: "ECONNRESET" },
    { kind: "refused", detail: "Länge", isDefect: false },
    { kind: "slow-peer", bytes: 70_000, millis: 30_000.5 },
    { kind: "handler", detail: "thrown" },
    { kind: "closed", unsent: 12 },
    { kind: "crashed", detail: "exit code 1", isStuck: false },
    { kind: "stopped" }
  ]
  for (const reason of reasons) {
    it(`${reason.kind} arrives as it was`, () => {
      assert.deepStrictEqual(decodeReason(...encodeReason(reason)), reason)
    })
  }
})
