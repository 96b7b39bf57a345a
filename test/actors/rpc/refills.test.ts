/**
 * Goal: a reply that waits for Receives leaves when they can be posted, although no completion
 * comes that would lead to another try: the only call of its client may be the one that it answers.
 * Method: a responder over a port that refuses Receives, and whose later acts the test runs.
 */
import { assert, describe, it } from "@effect/vitest"
import type { MessagePort } from "../../../src/actors/rpc/internal/messagePort.ts"
import { type Incoming, Responder } from "../../../src/actors/rpc/internal/responder.ts"
import type { PoolShare } from "../../../src/actors/rdma/RegionPool.ts"
import * as RpcMessage from "../../../src/schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../src/schema/rpc/RpcRdmaMessage.ts"

const callOf = (xid: number) =>
  RpcRdmaMessage.encode({
    _tag: "RdmaMsg",
    xid,
    credits: 1,
    chunks: { reads: [], writes: [], reply: undefined },
    // Its XID, in a message that nothing here reads.
    rpc: Uint8Array.of(0, 0, 0, xid, ...new Uint8Array(36))
  })
const call = callOf(7)

const reply: RpcMessage.Accepted = {
  _tag: "Accepted",
  xid: 7,
  verifier: RpcMessage.authNone,
  outcome: { _tag: "Success", results: new Uint8Array(0) }
}

/** A responder, the messages that it has sent, and what it does later. */
const setup = () => {
  const later: Array<() => void> = []
  const taken: Array<Incoming> = []
  const port = {
    accepts: true,
    hasRoom: true,
    sent: 0,
    posted: 0,
    postReceives: (count: number) => {
      const accepted = port.accepts ? count : 0
      port.posted += accepted
      return accepted
    },
    send: () => void port.sent++,
    wake: () => responder.turn()
  }
  const responder: Responder = new Responder({
    thresholds: { callBytes: 1_024, replyBytes: 1_024 },
    share: {} as PoolShare,
    maxCallBytes: 1_024,
    mayInvalidate: false,
    credits: () => 1,
    take: (incoming) => void taken.push(incoming),
    answered: () => false,
    turn: () => undefined,
    unreachable: () => undefined,
    later: (act) => void later.push(act),
    run: () => undefined
  })
  assert.isTrue(responder.attach(port as unknown as MessagePort))
  const answer = () => {
    responder.received(call)
    port.accepts = false
    responder.reply(taken[0]!, reply, [], () => undefined)
    assert.strictEqual(port.sent, 0)
  }
  return { answer, later, port, responder, taken }
}

describe("a reply whose Receives are refused", () => {
  it("A5: is tried again until they are accepted, once at a time", () => {
    const { answer, later, port, responder } = setup()
    answer()
    responder.turn()
    assert.lengthOf(later, 1)
    later.shift()!()
    assert.strictEqual(port.sent, 0)
    port.accepts = true
    later.shift()!()
    assert.strictEqual(port.sent, 1)
    assert.lengthOf(later, 0)
  })

  it("A5: is not tried again on a connection that is over", () => {
    const { answer, later, port, responder } = setup()
    answer()
    responder.end("by the peer")
    port.accepts = true
    later.shift()!()
    assert.strictEqual(port.sent, 0)
    assert.lengthOf(later, 0)
  })
})

describe("a requester that takes no replies", () => {
  it("G20: is granted no more calls until it takes them", () => {
    const { port, responder, taken } = setup()
    port.hasRoom = false
    const before = port.posted
    for (let xid = 1; xid <= 5; xid++) {
      responder.received(callOf(xid))
      responder.reply(taken.at(-1)!, { ...reply, xid }, [], () => undefined)
    }
    assert.deepStrictEqual([port.sent, port.posted], [0, before])
    port.hasRoom = true
    responder.turn()
    assert.strictEqual(port.sent, 5)
  })
})
