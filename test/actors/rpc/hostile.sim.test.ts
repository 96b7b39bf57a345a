/**
 * Goal: whatever a responder grants or answers, a client keeps to what is posted, gives nothing
 * away that it did not offer, and its calls end with replies of their own.
 * Method: a scripted responder on a raw queue pair of the simulated fabric.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { CompletionRouter } from "../../../src/actors/rdma/CompletionRouter.ts"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import { openPort } from "../../../src/actors/rpc/internal/epoch.ts"
import type { MessagePort } from "../../../src/actors/rpc/internal/messagePort.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import * as RpcMessage from "../../../src/schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../src/schema/rpc/RpcRdmaMessage.ts"
import { it } from "../../../src/testing/vitest.ts"

const settings = { seeds: 3, timerSlack: 0 } as const
const name = { program: 0x2000_0001, version: 1 }

/** A call as the script sees it. */
interface Came {
  readonly xid: number
  readonly procedure: number
  readonly chunks: RpcRdmaMessage.ChunkLists
  /** Calls of this connection before it. */
  readonly before: number
}

/** A message that voids a key of the client. */
interface Voiding {
  readonly message: Uint8Array
  readonly key: number
}

/** What is sent for a call, in this order. */
type Script = (came: Came) => ReadonlyArray<Uint8Array | Voiding>

const accepted = (xid: number, results = new Uint8Array(0)): Uint8Array =>
  RpcMessage.encode({
    _tag: "Accepted",
    xid,
    verifier: RpcMessage.authNone,
    outcome: { _tag: "Success", results }
  })

/** A good reply, with another grant or other chunks. */
const reply = (
  xid: number,
  { chunks = RpcRdmaMessage.noChunks, credits = 8, rpc = accepted(xid) } = {}
): Uint8Array => RpcRdmaMessage.encode({ _tag: "RdmaMsg", xid, credits, chunks, rpc })

/** A call of the responder. */
const callBack = (xid: number): Uint8Array =>
  reply(xid, {
    rpc: RpcMessage.encode({
      _tag: "Call",
      xid,
      ...name,
      procedure: 1,
      credential: RpcMessage.authNone,
      verifier: RpcMessage.authNone,
      args: new Uint8Array(4)
    })
  })

/** Undefined for an answer to a call of the responder. */
const cameIn = (bytes: Uint8Array, before: number): Came | undefined => {
  const message = Result.getOrThrow(RpcRdmaMessage.decode(bytes))
  assert.strictEqual(message._tag, "RdmaMsg")
  const { chunks, rpc, xid } = message as RpcRdmaMessage.RdmaMsg
  const call = Result.getOrThrow(RpcMessage.decode(rpc))
  if (call._tag !== "Call") return undefined
  return { xid, procedure: call.procedure, chunks, before }
}

/** A client of a responder that answers by a script, and what the responder saw. */
const world = Effect.fnUntraced(function* (
  script: Script,
  options: Partial<RpcClient.ClientOptions> = {}
) {
  const fabric = yield* SimFabric.make()
  const device = yield* Effect.provide(
    Effect.flatMap(Verbs, (verbs) => verbs.open()),
    SimVerbs.layer(fabric, { host: "server" })
  )
  const domain = yield* device.protectionDomain
  const router = new CompletionRouter(yield* device.completionQueue(1_024))
  yield* Effect.forkScoped(Effect.ignore(router.run))
  const listener = yield* device.listen()
  const connections: Array<Array<Came>> = []
  /** Answers to calls of the responder. */
  const answers: Array<Uint8Array> = []
  const serve = Effect.gen(function* () {
    const request = yield* listener.take
    const seen: Array<Came> = []
    const user = {
      received: (bytes: Uint8Array): void => {
        const came = cameIn(bytes, seen.length)
        if (came === undefined) return void answers.push(bytes.slice())
        seen.push(came)
        for (const sent of script(came)) {
          if ("key" in sent) port.send(sent.message, sent.key)
          else port.send(sent)
        }
      },
      turn: (): void => undefined,
      failed: (): void => undefined
    }
    const depths = { receives: 64, sends: 64, transfers: 0, inlineBytes: 1_024 }
    const opened = yield* openPort({ domain, router }, depths, user, Effect.void)
    const port: MessagePort = opened.port
    // Many more than are granted: what the client does wrong must not look like a lost connection.
    port.postReceives(64)
    connections.push(seen)
    yield* request.accept({ queuePair: opened.queuePair, rnrRetries: 0 })
  })
  yield* Effect.forkScoped(Effect.forever(serve))
  const client = yield* Effect.provide(
    RpcClient.make({ ...name, to: listener.address, credits: 8, firstPauseMs: 1, ...options }),
    SimVerbs.layer(fabric, { host: "client" })
  )
  return { fabric, client, connections, answers }
})

const call = (client: RpcClient.RpcClient, more: Partial<RpcClient.CallRequest> = {}) =>
  client.call({ procedure: 1, args: new Uint8Array(4), ...more })

const many = (client: RpcClient.RpcClient, calls: number) =>
  Effect.forEach(Array.from({ length: calls }), () => call(client), { concurrency: "unbounded" })

describe("a responder", () => {
  for (const [credits, most] of [
    [0, 1],
    [1, 1],
    [2 ** 32 - 1, 7]
  ] as const) {
    it.sim(`A4: that grants ${credits} has at most ${most} calls in flight`, settings, () =>
      Effect.gen(function* () {
        let [open, highest] = [0, 0]
        const { client, connections, fabric } = yield* world(({ procedure, xid }) => {
          if (procedure === 0) return [reply(xid, { credits })]
          open++
          highest = Math.max(highest, open)
          return []
        })
        const calls = yield* Effect.forkChild(many(client, 20))
        yield* Effect.sleep("10 millis")
        assert.isUndefined(calls.pollUnsafe())
        assert.strictEqual(highest, most)
        assert.lengthOf(connections, 1)
        assert.strictEqual(fabric.rnrs, 0)
      })
    )
  }

  it.sim("A2: is sent one call before its first reply, NULL", settings, () =>
    Effect.gen(function* () {
      const { client, connections } = yield* world(() => [])
      yield* Effect.forkChild(many(client, 20))
      yield* Effect.sleep("100 millis")
      assert.deepStrictEqual(
        connections.map((seen) => seen.map(({ procedure }) => procedure)),
        [[0]]
      )
    })
  )

  it.sim("B5: that sends rubbish, strangers' and double replies harms no call", settings, () =>
    Effect.gen(function* () {
      // A message that is no reply takes the Receive of one, so each call of procedure 2 gets its
      // reply only after one was posted again.
      const held: Array<number> = []
      const rubbish = (xid: number): ReadonlyArray<Uint8Array> => [
        Uint8Array.of(1, 2, 3),
        new Uint8Array(100).fill(255),
        reply(xid ^ 0x5555),
        reply(xid, { rpc: accepted(xid).subarray(0, 12) }),
        RpcRdmaMessage.encode({ _tag: "RdmaDone", xid, credits: 1 })
      ]
      const { client, connections, fabric } = yield* world(({ before, procedure, xid }) => {
        if (procedure === 0) return [reply(xid)]
        if (procedure === 1) return [reply(xid), ...held.splice(0).map((late) => reply(late))]
        held.push(xid)
        return [rubbish(xid)[before % 5]!]
      })
      for (let round = 0; round < 10; round++) {
        const odd = yield* Effect.forkChild(call(client, { procedure: 2 }))
        yield* Effect.sleep("1 millis")
        assert.isUndefined(odd.pollUnsafe())
        yield* call(client)
        yield* Fiber.join(odd)
      }
      yield* many(client, 20)
      assert.lengthOf(connections, 1)
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("G21: that calls back by the XID of a call gets an answer to that", settings, () =>
    Effect.gen(function* () {
      const [reverse, executed] = [{ ...name, procedures: { 1: { handler: echoing } } }, [0]]
      function echoing({ args }: { readonly args: Uint8Array }) {
        executed[0]!++
        return Effect.succeed({ results: args })
      }
      const script: Script = ({ procedure, xid }) =>
        procedure === 0 ? [reply(xid)] : [callBack(xid), reply(xid)]
      const { answers, client, connections, fabric } = yield* world(script, { reverse: [reverse] })
      yield* many(client, 20)
      yield* Effect.sleep("10 millis")
      assert.deepStrictEqual([answers.length, executed[0], connections.length], [20, 20, 1])
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("G21: that calls a client which takes no calls gets no answer", settings, () =>
    Effect.gen(function* () {
      const { answers, client, connections, fabric } = yield* world(({ procedure, xid }) =>
        procedure === 0 ? [reply(xid)] : [callBack(xid), reply(xid)]
      )
      for (let round = 0; round < 10; round++) yield* call(client)
      assert.deepStrictEqual([answers.length, connections.length], [0, 1])
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("G21: that calls more than was offered loses the connection", settings, () =>
    Effect.gen(function* () {
      const handler = () => Effect.never
      let epochs = 0
      const { client, connections } = yield* world(
        ({ procedure, xid }) => {
          if (procedure === 0) epochs++
          return procedure === 0 || epochs > 1
            ? [reply(xid)]
            : [callBack(1), callBack(2), callBack(3)]
        },
        { reverse: [{ ...name, procedures: { 1: { handler } } }], reverseCalls: 2 }
      )
      yield* call(client, { isIdempotent: true })
      assert.lengthOf(connections, 2)
    })
  )

  it.sim("B4: that answers by an error ends the call, for good", settings, () =>
    Effect.gen(function* () {
      const { client, connections } = yield* world(({ procedure, xid }) => [
        procedure === 0
          ? reply(xid)
          : procedure === 1
            ? RpcRdmaMessage.encode({ _tag: "RdmaErrChunk", xid, credits: 8 })
            : RpcRdmaMessage.encode({
                _tag: "RdmaErrVers",
                xid,
                credits: 8,
                version: 1,
                low: 2,
                high: 2
              })
      ])
      const chunks = yield* Effect.flip(call(client))
      assert.deepInclude(chunks, { _tag: "CallRefused", reason: "chunks-refused" })
      const version = yield* Effect.flip(call(client, { procedure: 2 }))
      assert.deepInclude(version, { _tag: "CallRefused", reason: "version-refused" })
      assert.lengthOf(connections, 1)
      assert.lengthOf(connections[0]!, 3)
      assert.strictEqual(client.usage.heldCredits, 0)
    })
  )

  it.sim("G5: that claims memory which was not offered loses the connection", settings, () =>
    Effect.gen(function* () {
      let lies = 3
      const { client, connections } = yield* world(({ chunks, procedure, xid }) => {
        if (procedure === 0 || lies === 0) return [reply(xid, { chunks: { ...chunks, reads: [] } })]
        lies--
        const [chunk] = chunks.writes
        const segment = chunk![0]!
        const lie = [
          { ...segment, length: segment.length + 1 },
          { ...segment, handle: segment.handle ^ 1 },
          { ...segment, handle: segment.handle ^ 1, length: 0 }
        ][lies]!
        return [reply(xid, { chunks: { reads: [], writes: [[lie]], reply: undefined } })]
      })
      const { bulk } = yield* call(client, {
        maxResultBytes: 10_000,
        bulkResults: [9_900],
        isIdempotent: true
      })
      // The last one claims all that was offered, and wrote nothing: it is empty memory.
      assert.strictEqual(bulk[0]!.length, 9_900)
      assert.isTrue(bulk[0]!.every((octet) => octet === 0))
      assert.lengthOf(connections, 4)
      assert.strictEqual(client.usage.lentBytes, 0)
    })
  )

  const voided = {
    "another call's": (xid: number) => reply(xid),
    "a call's by rubbish": () => Uint8Array.of(1, 2, 3),
    "a call's by a stranger's reply": (xid: number) => reply(xid ^ 0x5555)
  }
  for (const [what, messageFor] of Object.entries(voided)) {
    it.sim(`G22: that voids ${what} key answers neither from that memory`, settings, () =>
      Effect.gen(function* () {
        const held: Array<Came> = []
        const { client, connections } = yield* world(
          (came) => {
            const claim = (one: Came) => reply(one.xid, { chunks: { ...one.chunks, reads: [] } })
            if (came.procedure === 0) return [reply(came.xid)]
            if (held.length > 1)
              return [
                reply(came.xid, {
                  chunks: {
                    ...came.chunks,
                    reads: [],
                    writes: came.chunks.writes.map(([one]) => [{ ...one!, length: 0 }])
                  }
                })
              ]
            held.push(came)
            if (held.length < 2) return []
            const [first, second] = held as [Came, Came]
            const key = second.chunks.writes[0]![0]!.handle
            return [{ message: messageFor(first.xid), key }, claim(second)]
          },
          { trustsForeignCache: true }
        )
        const bulk = { maxResultBytes: 10_000, bulkResults: [9_900] }
        const replies = yield* Effect.all([call(client, bulk), call(client, bulk)], {
          concurrency: "unbounded"
        })
        // What the responder claims on the connection that it broke counts for nothing.
        for (const one of replies) assert.strictEqual(one.bulk[0]!.length, 0)
        assert.lengthOf(connections, 2)
        assert.deepStrictEqual(client.usage, { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 })
      })
    )
  }
})
