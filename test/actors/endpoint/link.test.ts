/**
 * Goal: a link is open for its epoch alone, and not once its queue pairs are about to go.
 * Method: links over states that a test sets, each reason to be closed by itself.
 */
import { assert, describe, it } from "@effect/vitest"
import type { State } from "../../../src/actors/endpoint/EndpointState.ts"
import { Link } from "../../../src/actors/endpoint/internal/link.ts"
import type { QueuePair } from "../../../src/native/verbs/QueuePair.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import { half } from "./scriptedPeer.ts"

const mine = "0000000a.1" as Epoch
const next = "0000000a.2" as Epoch

const ready = (epoch: Epoch): State => ({
  _tag: "Ready",
  newest: undefined,
  gone: [],
  refused: [],
  epoch,
  opening: epoch,
  own: half(7, epoch),
  peer: { from: "p@sim0", to: "a@sim0", half: half(1), knows: undefined, hasGate: true },
  key: "acknowledged",
  connectedAt: 0
})

const over = (state: () => State) => {
  const queuePair = {
    number: 7,
    sendRoom: 3,
    outstandingSends: 0,
    post: () => "accepted"
  } as unknown as QueuePair
  return new Link(mine, { local: "a@sim0", peer: "p@sim0" }, [queuePair], state)
}

describe("a link", () => {
  it("is open while its epoch is ready", () => {
    const link = over(() => ready(mine))
    assert.isTrue(link.isOpen)
    assert.strictEqual(link.post(new SendRequest()), "accepted")
  })

  it("is closed once another epoch is ready", () => {
    let epoch = mine
    const link = over(() => ready(epoch))
    epoch = next
    assert.isFalse(link.isOpen)
    assert.strictEqual(link.post(new SendRequest()), "not-ready")
  })

  it("is closed once its queue pairs are released, although its epoch is ready", () => {
    const link = over(() => ready(mine))
    link.release()
    assert.isFalse(link.isOpen)
    assert.strictEqual(link.post(new SendRequest()), "not-ready")
  })

  it("is closed while the gate is", () => {
    const { key: _, ...rest } = ready(mine) as Extract<State, { _tag: "Ready" }>
    const link = over(() => ({ ...rest, _tag: "AwaitingReadyAck", call: "taken" }))
    assert.isFalse(link.isOpen)
  })
})
