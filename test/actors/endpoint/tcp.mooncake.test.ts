/**
 * Goal: over TCP our server answers Mooncake's bytes as Mooncake does, and our client says what
 * Mooncake says (R6, R7, R8, R9, R15, R33). Method: the real Mooncake is not there; its recorded
 * conversations are, of its newest form and of the one before there was an acknowledgement. Raw
 * sockets play them, on either side.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Half, Handshakes, type Offer } from "../../../src/actors/endpoint/Handshake.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import {
  bytesOfHex,
  refusedGids,
  type Sent,
  success,
  vector,
  vectors,
  wire
} from "../../schema/mooncake/vectors.ts"
import { answering, ask, frameIn, onFabric, pool, script, tcpHost, typed } from "./tcp.ts"

const mooncake = "127.0.0.1:15101@fake0"

/** A text without what differs from process to process. */
const plain = (text: string | null | undefined): unknown => {
  if (text === null || text === undefined) return text
  // The old framing has no type: its recorded text begins behind the brace.
  const whole = text.startsWith('"') ? `{${text}` : text
  const members = JSON.parse(whole)
  if (members === null || members.qp_num === undefined) return members
  const { local_gid: gid, local_lid: _, qp_num: numbers, ...rest } = members
  return { ...rest, hasGid: gid !== "", numbers: numbers.length }
}

const host = (path: string, server = {}) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const host = yield* tcpHost({ path, server }).pipe(Effect.provide(onFabric(fabric, "m")))
    return { ...host, fabric }
  })

const descriptor = success(
  SegmentDescriptor.decode(vector("legacy.server.metadata reply").sent.text!)
)

/** Our text for a path that is empty; Mooncake looks for an endpoint of that name first. */
const deviations = new Set(["head.server.empty-local-path"])

const isHandshake = ({ request }: { readonly request: Sent }) =>
  request.type === FrameType.connection || request.type === 123

describe("our server and a recorded client", () => {
  it.live("answers each request as Mooncake's newest did", () =>
    Effect.gen(function* () {
      const { server } = yield* host(mooncake, { segment: Effect.succeed(descriptor) })
      yield* ask(
        server.port,
        bytesOfHex(vector("legacy.server.duplicate-request request").sent.hex)
      )
      let compared = 0
      for (const { name, reply, request } of vectors) {
        if (!name.startsWith("head.server.")) continue
        const answer = yield* ask(server.port, bytesOfHex(request.hex))
        const frame = frameIn(answer)
        assert.isDefined(frame, name)
        assert.strictEqual(frame!.framing, name.endsWith("old-framing") ? "old" : "typed")
        if (deviations.has(name)) assert.include(frame!.text, "Parse peer nic path failed: ")
        else assert.deepStrictEqual(plain(frame!.text), plain(reply!.text), name)
        compared += 1
      }
      assert.isAtLeast(compared, 18)
    }).pipe(Effect.provide(pool))
  )

  it.live("accepts and rejects what the one before did, but gives a reason", () =>
    Effect.gen(function* () {
      const { server } = yield* host(mooncake, { segment: Effect.succeed(descriptor) })
      for (const vector of vectors) {
        const { name, reply, request } = vector
        // To that one, an acknowledgement is a request.
        if (!name.startsWith("legacy.server.") || /ack-unknown|ready-ack/.test(name)) continue
        const frame = frameIn(yield* ask(server.port, bytesOfHex(request.hex)))
        const ours = plain(frame?.text) as { readonly reply_msg?: string } | undefined
        if (!isHandshake(vector)) assert.deepStrictEqual(ours, plain(reply!.text), name)
        else if (reply!.text === "null\n") assert.isNotEmpty(ours!.reply_msg, name)
        else assert.strictEqual(ours!.reply_msg, "", name)
      }
    }).pipe(Effect.provide(pool))
  )

  for (const { active, connections: all, passive } of wire) {
    const connections = all.filter(isHandshake)
    it.live(`answers a whole conversation of ${active} with ${passive}`, () =>
      Effect.gen(function* () {
        const { request, reply } = connections[0]!
        const said = JSON.parse(request.text!)
        const { server, store } = yield* host(said.peer_nic_path)
        for (const [index, { request }] of connections.entries()) {
          const frame = frameIn(yield* ask(server.port, bytesOfHex(request.hex)))
          const { reply_msg: message } = JSON.parse(frame!.text)
          assert.strictEqual(message, "")
          // What the other side was able to is told by its reply; ours always has a gate.
          if (passive === "head") {
            assert.deepStrictEqual(plain(frame!.text), plain(connections[index]!.reply.text))
          }
        }
        const state = yield* store.stateOf(said.local_nic_path)
        const isAcknowledged = connections.length > 1 || !("ready_ack" in said)
        assert.strictEqual(state._tag, isAcknowledged ? "Ready" : "AwaitingReadyAck")
        assert.notInclude(reply.text, "handfast")
      }).pipe(Effect.provide(pool))
    )
  }

  const [auto, always, fixed] = refusedGids
  for (const [recorded, refused, gidIndex] of [
    [auto!, [0], undefined],
    [always!, [0, 1], undefined],
    [fixed!, [0], 0]
  ] as const) {
    it.live(`R22 replies as Mooncake did to ${recorded.name}`, () =>
      Effect.gen(function* () {
        const fabric = yield* SimFabric.make()
        const { nic, server } = yield* tcpHost({
          path: mooncake,
          ...(gidIndex !== undefined && { gidIndex })
        }).pipe(Effect.provide(onFabric(fabric, "m", {}, 2)))
        for (const index of refused) {
          fabric.strike({ _tag: "GidRefusal", node: "m", index, forMillis: 60_000 })
        }
        const { gids } = yield* nic.device.port()
        const { local_nic_path: to, peer_nic_path: from } = JSON.parse(recorded.reply)
        const request = JSON.parse(vector("head.server.new-qpns request").sent.text!)
        const asked = { ...request, local_nic_path: from, peer_nic_path: to }
        const answer = frameIn(yield* ask(server.port, typed(`${JSON.stringify(asked)}\n`)))!
        const [ours, its] = [JSON.parse(answer.text), JSON.parse(recorded.reply)]
        assert.strictEqual(ours.reply_msg === "", its.reply_msg === "")
        if (its.reply_msg !== "") return
        assert.deepStrictEqual(plain(answer.text), plain(recorded.reply))
        // The last bytes of its GIDs were 1, 129 and so on.
        assert.isTrue(its.local_gid.endsWith("0a:00:00:81"))
        assert.strictEqual(ours.local_gid.replaceAll(":", ""), gids[1]!.gid)
      }).pipe(Effect.provide(pool))
    )
  }

  it.live("R9 knows a GID that the peer leaves out only if somebody has told it", () =>
    Effect.gen(function* () {
      const { request } = vectors.find(({ name }) => name === "head.server.no-gid")!
      const gidOf = (path: string) =>
        path === "127.0.0.1:15118@fake0" ? Gid.fromAddress("10.0.0.2") : undefined
      const { server, store } = yield* host(mooncake, { gidOf })
      const frame = frameIn(yield* ask(server.port, bytesOfHex(request.hex)))
      assert.strictEqual(JSON.parse(frame!.text).reply_msg, "")
      assert.strictEqual((yield* store.stateOf("127.0.0.1:15118@fake0"))._tag, "AwaitingReadyAck")
    }).pipe(Effect.provide(pool))
  )
})

const halfIn = (text: string, own: Partial<Half> = {}): Half => {
  const { local_gid: gid, qp_num: queuePairs } = JSON.parse(text)
  return {
    queuePairs,
    gid: gid.replaceAll(":", ""),
    lid: 0,
    epoch: undefined,
    mtu: undefined,
    ...own
  }
}

const offerIn = (text: string, own: Partial<Half> = {}): Offer => {
  const { local_nic_path: from, peer_nic_path: to } = JSON.parse(text)
  return { from, to, half: halfIn(text, own), knows: undefined, hasGate: true }
}

/** Calls whoever listens there, wherever its path says that it is. */
const calling = (port: number, options: TcpHandshakes.Options = {}) =>
  TcpHandshakes.layer({
    locate: () => Effect.succeed({ host: "127.0.0.1", port }),
    ...options
  })

const ours = { epoch: "0123abcd.7" as Epoch, mtu: 4096 } as const

describe("our client and a recorded server", () => {
  it.live("says what Mooncake says, byte for byte, but for the member that it ignores", () =>
    Effect.gen(function* () {
      const { connections } = wire.find(
        ({ active, passive }) => active === "head" && passive === "head"
      )!
      const [first, second] = connections
      for (const own of [{}, ours]) {
        const heard: Array<string> = []
        const port = yield* answering((text, index) => {
          heard.push(text)
          return connections[index]!.reply.text!
        })
        yield* Effect.gen(function* () {
          const handshakes = yield* Handshakes
          const { text } = first!.request
          const answer = yield* handshakes.offer(offerIn(text!, own))
          assert.deepStrictEqual(answer, { ...offerIn(first!.reply.text!), hasGate: true })
          const { hasGate: _, ...said } = offerIn(text!, own)
          yield* handshakes.acknowledge(said)
        }).pipe(Effect.provide(calling(port)))
        const added = /"handfast":\{[^}]*\},/
        assert.deepStrictEqual(
          heard.map((text) => added.test(text)),
          "epoch" in own ? [true, true] : [false, false]
        )
        assert.deepStrictEqual(
          heard.map((text) => text.replace(added, "")),
          [first!.request.text, second!.request.text]
        )
      }
    }).pipe(Effect.provide(pool))
  )

  it.live("sees that a peer has no gate, and a rejection with and without a reason", () =>
    Effect.gen(function* () {
      const texts = [
        vector("head.client.legacy-server.0 reply").sent.text!,
        "null\n",
        vector("head.server.unknown-nic reply").sent.text!,
        vector("head.server.stale-ready-ack reply").sent.text!,
        vector("head.server.no-gid reply").sent.text!
      ]
      const port = yield* answering((_, index) => texts[index])
      const offer = offerIn(vector("head.client.legacy-server.0 request").sent.text!)
      yield* Effect.gen(function* () {
        const handshakes = yield* Handshakes
        assert.isFalse((yield* handshakes.offer(offer)).hasGate)
        for (const reason of ["other", "wrong-path", "stale", "incompatible"] as const) {
          const rejected = yield* Effect.flip(handshakes.offer(offer))
          assert.deepInclude(rejected, { _tag: "Rejected", by: offer.to, reason })
        }
      }).pipe(Effect.provide(calling(port)))
    }).pipe(Effect.provide(pool))
  )

  it.live("R8 takes no reply without a GID, without queue pairs, or of somebody else", () =>
    Effect.gen(function* () {
      const good = vector("head.client.modern-server.0 reply").sent.text!
      const texts = [
        good.replace(/"local_gid":"[^"]*"/, '"local_gid":""'),
        good.replace(/"qp_num":\[[^\]]*\]/, '"qp_num":[]'),
        good.replace(/"local_nic_path":"[^"]*"/, '"local_nic_path":"127.0.0.1:9@fake0"'),
        vector("head.server.ready-ack reply").sent.text!,
        "[]\n",
        "not json",
        '"x"\n'
      ]
      const port = yield* answering((_, index) => texts[index])
      const offer = offerIn(vector("head.client.modern-server.0 request").sent.text!)
      yield* Effect.gen(function* () {
        const handshakes = yield* Handshakes
        for (const text of texts) {
          const failed = yield* Effect.flip(handshakes.offer(offer))
          assert.deepInclude(failed, { _tag: "HandshakeFailed", step: "protocol" }, text)
        }
      }).pipe(Effect.provide(calling(port)))
    }).pipe(Effect.provide(pool))
  )

  it.live("says at which step it failed", () =>
    Effect.gen(function* () {
      const offer = offerIn(vector("head.client.modern-server.0 request").sent.text!)
      const tried = (port: number, options: TcpHandshakes.Options = {}) =>
        Effect.gen(function* () {
          const handshakes = yield* Handshakes
          const failed = yield* Effect.flip(handshakes.offer(offer))
          return failed._tag === "HandshakeFailed" ? failed.step : failed.reason
        }).pipe(Effect.provide(calling(port, { answerWithinMs: 100, ...options })))
      const silent = yield* script(() => {})
      assert.strictEqual(yield* tried(silent), "answer")
      const closing = yield* script((socket) => socket.destroy())
      assert.strictEqual(yield* tried(closing), "answer")
      const half = yield* script((socket) => socket.end(typed("null\n").subarray(0, 10)))
      assert.strictEqual(yield* tried(half), "answer")
      const probe = yield* script((socket) => socket.end(typed("{}\n", FrameType.probe)))
      assert.strictEqual(yield* tried(probe), "protocol")
      const long = yield* script((socket) => socket.end(new Uint8Array(32).fill(0xff)))
      assert.strictEqual(yield* tried(long), "protocol")
      const gone = yield* Effect.scoped(script(() => {}))
      assert.strictEqual(yield* tried(gone), "connect")
      const nowhere = () => Effect.fail("nobody knows it")
      assert.strictEqual(yield* tried(1, { locate: nowhere }), "resolve")
      const name = () => Effect.succeed({ host: "nobody.invalid", port: 1 })
      assert.strictEqual(yield* tried(1, { locate: name }), "resolve")
    }).pipe(Effect.provide(pool))
  )

  it.live("R33 looks a peer up for each call, and tries all addresses of a name", () =>
    Effect.gen(function* () {
      const reply = vector("head.client.modern-server.0 reply").sent.text!
      const offer = offerIn(vector("head.client.modern-server.0 request").sent.text!)
      const here = yield* answering(() => reply)
      const gone = yield* Effect.scoped(script(() => {}))
      const ports = [gone, here]
      // This name has an address of version 6 on most machines, where nobody listens.
      const locate = () => Effect.sync(() => ({ host: "localhost", port: ports.shift()! }))
      yield* Effect.gen(function* () {
        const handshakes = yield* Handshakes
        const failed = yield* Effect.flip(handshakes.offer(offer))
        assert.deepInclude(failed, { step: "connect" })
        assert.deepStrictEqual((yield* handshakes.offer(offer)).from, offer.to)
      }).pipe(Effect.provide(TcpHandshakes.layer({ locate })))
    }).pipe(Effect.provide(pool))
  )
})
