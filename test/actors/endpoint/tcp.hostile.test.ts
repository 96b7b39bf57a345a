/**
 * Goal: no peer harms a server of handshakes, nor those whom it serves (H5, H6, H7, R12, R15): not
 * by what it sends, nor by what it does not. Method: raw sockets that send all that was tried
 * against Mooncake, are silent, drip, do not close, or are too many; after each, an ordinary
 * handshake.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import type { Caller, Options } from "../../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import { Handshakes, Rejected } from "../../../src/actors/endpoint/Handshake.ts"
import { connections } from "../../../src/actors/endpoint/mooncake/HandshakeMetrics.ts"
import * as Segment from "../../../src/actors/rdma/Segment.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import { tried } from "../../schema/mooncake/hostileInputs.ts"
import { bytesOfHex, vectors } from "../../schema/mooncake/vectors.ts"
import { eventually } from "../../eventually.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { host as here, said } from "./strangers.ts"
import {
  answering,
  ask,
  dial,
  frameIn,
  heard,
  type HostOptions,
  onFabric,
  pool,
  tcpHost,
  typed
} from "./tcp.ts"

const make = (server: Options = {}, options: HostOptions = {}) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const host = yield* tcpHost({ server, ...options }).pipe(Effect.provide(onFabric(fabric, "m")))
    return { ...host, fabric }
  })

let peers = 0

/** An ordinary peer's request. */
const request = (to: string, change: object = {}): string =>
  `${JSON.stringify({
    local_gid: "00:00:00:00:00:00:00:00:00:00:ff:ff:0a:00:00:02",
    local_lid: 0,
    local_nic_path: `127.0.0.1:${20_000 + ++peers}@good`,
    peer_nic_path: to,
    qp_num: [1, 2],
    ready_ack: false,
    reply_msg: "",
    ...change
  })}\n`

/** An ordinary handshake, and how long it took. */
const good = (host: { readonly server: { readonly port: number }; readonly path: string }) =>
  Effect.gen(function* () {
    const since = performance.now()
    const frame = frameIn(yield* ask(host.server.port, typed(request(host.path))))
    assert.strictEqual(JSON.parse(frame!.text).reply_msg, "")
    return performance.now() - since
  })

const counted = (outcome: string) =>
  Effect.map(Metric.value(Metric.withAttributes(connections, { outcome })), ({ count }) =>
    Number(count)
  )

/** The same of a condition that needs no effect. */
const until = (what: string, isTrue: () => boolean) => eventually(what, Effect.sync(isTrue))

describe("H6 whatever is sent", () => {
  it.live("is answered or closed, and everybody else is served", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const hostile = yield* counted("hostile")
      let closed = 0
      for (const [name, type, text, , tag] of tried) {
        const message = text.replaceAll("127.0.0.1:15101@fake0", host.path)
        const answer = yield* ask(host.server.port, typed(message, type))
        const isFault = tag === "BadJson" || tag === "Malformed"
        // Metadata and probes are not looked into; nothing is there to describe.
        if (type === FrameType.probe) assert.include(frameIn(answer)!.text, "success")
        else if (isFault || type === FrameType.metadata) assert.strictEqual(answer.length, 0, name)
        else assert.isString(JSON.parse(frameIn(answer)!.text).reply_msg, name)
        if (isFault && type !== FrameType.probe && type !== FrameType.metadata) closed += 1
        yield* good(host)
      }
      assert.strictEqual((yield* counted("hostile")) - hostile, closed)
      assert.isAtLeast(closed, 10)
    }).pipe(Effect.provide(pool))
  )

  it.live("is closed without an answer if a byte comes behind the frame", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const hostile = yield* counted("hostile")
      const probe = typed("{}\n", FrameType.probe)
      const answer = yield* said(host.server.port, Buffer.concat([probe, new Uint8Array(1)]), here)
      assert.include(["", "ECONNRESET"], answer)
      assert.strictEqual(yield* counted("hostile"), hostile + 1)
      assert.include(yield* said(host.server.port, probe, here), "success")
    }).pipe(Effect.provide(pool))
  )

  it.live("is closed if it is no frame, or not a whole one", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const faults = vectors.filter(({ name }) => name.startsWith("head.fault."))
      assert.isAtLeast(faults.length, 8)
      for (const { name, request } of faults) {
        assert.strictEqual(
          (yield* cutOff(host.server.port, bytesOfHex(request.hex))).length,
          0,
          name
        )
        yield* good(host)
      }
    }).pipe(Effect.provide(pool))
  )

  it.live("as an answer fails the call, with a type", () =>
    Effect.gen(function* () {
      for (const [name, type, text] of tried) {
        if (type !== FrameType.connection) continue
        const port = yield* answering(() => text)
        const locate = () => Effect.succeed({ host: "127.0.0.1", port })
        yield* Effect.gen(function* () {
          const half = {
            queuePairs: [1, 2],
            gid: Gid.fromAddress("10.0.0.1")!,
            lid: 0,
            epoch: undefined,
            mtu: undefined
          }
          const offer = { from: "a@x", to: "b@x", half, knows: undefined, hasGate: true }
          const error = yield* Effect.flip((yield* Handshakes).offer(offer))
          assert.include(["HandshakeFailed", "Rejected"], error._tag, name)
        }).pipe(Effect.provide(TcpHandshakes.layer({ locate })))
      }
    }).pipe(Effect.provide(pool))
  )
})

/** Sends bytes, ends its own side, and gives all that comes back. */
const cutOff = (port: number, message: Uint8Array) =>
  Effect.scoped(
    Effect.gen(function* () {
      const socket = yield* dial(port)
      socket.end(message)
      return yield* heard(socket)
    })
  )

describe("H7 a client", () => {
  it.live("that is silent, drips or never closes delays nobody else", () =>
    Effect.gen(function* () {
      const host = yield* make({ exchangeWithinMs: 1_500 })
      const [silent, dripping, staying] = [
        yield* dial(host.server.port),
        yield* dial(host.server.port),
        yield* dial(host.server.port)
      ]
      const message = typed(request(host.path))
      let at = 0
      const drip = setInterval(() => dripping.write(message.subarray(at, ++at)), 100)
      staying.write(typed(request(host.path)))
      const ended = { silent: false, dripping: false, staying: false }
      silent
        .resume()
        .once("close", () => void (ended.silent = true))
        .once("end", () => silent.end())
      dripping.resume().once("close", () => void (ended.dripping = true))
      staying.resume().once("end", () => void (ended.staying = true))
      const times: Array<number> = []
      for (let count = 0; count < 50; count++) times.push(yield* good(host))
      assert.isBelow(times.toSorted((a, b) => a - b)[45]!, 500)
      assert.isFalse(ended.silent || ended.dripping)
      // It has its answer, and the server's end of the connection.
      yield* until("the one that stays has been answered", () => ended.staying)
      const expired = yield* counted("expired")
      yield* until("the slow ones are closed", () => ended.silent && ended.dripping)
      clearInterval(drip)
      const both = Effect.map(counted("expired"), (count) => count === expired + 2)
      yield* eventually("both have expired", both)
      const { stats } = yield* IoPool
      yield* eventually(
        "no connection is left",
        Effect.map(stats, ({ lanes }) => lanes === 0)
      )
    }).pipe(Effect.provide(pool))
  )

  it.live("may end its side before the answer", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const answer = yield* cutOff(host.server.port, typed(request(host.path)))
      assert.strictEqual(JSON.parse(frameIn(answer)!.text).reply_msg, "")
    }).pipe(Effect.provide(pool))
  )

  it.live("beyond the limit takes the place of the one that was silent longest", () =>
    Effect.gen(function* () {
      const host = yield* make({ connections: 3 })
      const silent = [
        yield* dial(host.server.port),
        yield* dial(host.server.port),
        yield* dial(host.server.port)
      ]
      const closed = [false, false, false]
      for (const [index, socket] of silent.entries()) {
        socket.resume().once("close", () => void (closed[index] = true))
        socket.once("end", () => socket.destroy())
      }
      yield* good(host)
      yield* until("the first is closed", () => closed[0]!)
      assert.deepStrictEqual(closed, [true, false, false])
    }).pipe(Effect.provide(pool))
  )

  it.live("beyond the limit takes the place of one that keeps its answered connection", () =>
    Effect.gen(function* () {
      const host = yield* make({ connections: 2 })
      const question = typed("{}\n", FrameType.probe)
      for (let count = 0; count < 2; count++) {
        const socket = yield* dial(host.server.port)
        const answered = Effect.callback<void>((resume) => {
          socket.once("data", () => resume(Effect.void))
        })
        socket.write(question)
        yield* answered
      }
      const answer = frameIn(yield* ask(host.server.port, question))
      assert.strictEqual(answer?.type, FrameType.probe)
    }).pipe(Effect.provide(pool))
  )

  it.live("beyond the limit is closed if all others have spoken", () =>
    Effect.gen(function* () {
      const host = yield* make({ connections: 2 })
      // Their queue pairs take a while.
      host.fabric.strike({ _tag: "SlowModify", node: "m", forMillis: 60_000, millis: 100 })
      const refused = yield* counted("refused")
      const busy = [yield* dial(host.server.port), yield* dial(host.server.port)]
      for (const socket of busy) socket.resume().write(typed(request(host.path)))
      yield* Effect.sleep("50 millis")
      const answer = yield* ask(host.server.port, typed(request(host.path)))
      assert.strictEqual(answer.length, 0)
      const grows = Effect.map(counted("refused"), (count) => count > refused)
      yield* eventually("it counts as refused", grows)
    }).pipe(Effect.provide(pool))
  )
})

describe("a stranger", () => {
  it.live("H5 creates nothing and evicts nobody by an acknowledgement", () =>
    Effect.gen(function* () {
      const host = yield* make({}, { store: { capacity: 2 } })
      yield* good(host)
      for (let count = 0; count < 10; count++) {
        const ack = typed(request(host.path, { ready_ack: true }))
        const { text } = frameIn(yield* ask(host.server.port, ack))!
        assert.include(text, "Received RDMA ready ACK for unconnected endpoint")
      }
      assert.strictEqual(host.store.size, 1)
      assert.strictEqual(host.fabric.resources("m").queuePairs, 2)
    }).pipe(Effect.provide(pool))
  )

  it.live("R15 is asked for by path, by socket and by kind before anything is made", () =>
    Effect.gen(function* () {
      const callers: Array<Caller> = []
      const admit = (caller: Caller) => {
        callers.push(caller)
        return caller.asks === "probe"
      }
      const host = yield* make({ admit })
      const { text } = frameIn(yield* ask(host.server.port, typed(request(host.path))))!
      assert.match(JSON.parse(text).reply_msg, /^not-admitted: 127\.0\.0\.1:\d+@good may not/)
      const notify = typed('{"name":"n","notify_msg":"m"}', FrameType.notify)
      assert.strictEqual((yield* ask(host.server.port, notify)).length, 0)
      const probe = frameIn(yield* ask(host.server.port, typed("{}", FrameType.probe)))
      assert.include(probe!.text, "success")
      assert.deepStrictEqual(
        callers.map(({ asks, peer, to }) => [asks, peer.address, to]),
        [
          ["handshake", "127.0.0.1", host.path],
          ["notify", "127.0.0.1", undefined],
          ["probe", "127.0.0.1", undefined]
        ]
      )
      assert.strictEqual(host.store.size, 0)
      assert.strictEqual(host.fabric.resources("m").queuePairs, 0)
    }).pipe(Effect.provide(pool))
  )

  it.live("R15 is told from a peer by its certificate", () =>
    Effect.gen(function* () {
      const subjects: Array<string | undefined> = []
      const admit = ({ peer }: Caller) => {
        subjects.push(peer.tls?.subject)
        return peer.tls?.authorized === true && subjects.length > 1
      }
      const host = yield* make({ tls: tlsOf("server"), admit })
      const fabric = yield* SimFabric.make()
      const clientOf = (name: "client" | "stranger") =>
        tcpHost().pipe(Effect.provide(onFabric(fabric, name, { tls: tlsOf(name) })))
      const client = yield* clientOf("client")
      const half = {
        queuePairs: [1, 2],
        gid: Gid.fromAddress("10.0.0.1")!,
        lid: 0,
        epoch: undefined,
        mtu: undefined
      }
      const offer = { from: client.path, to: host.path, half, knows: undefined, hasGate: true }
      const offered = (name: "client" | "stranger") =>
        Effect.flatMap(Handshakes, (handshakes) => handshakes.offer(offer)).pipe(
          Effect.provide(TcpHandshakes.layer({ tls: tlsOf(name) }))
        )
      const refused = yield* Effect.flip(offered("client"))
      assert.instanceOf(refused, Rejected)
      assert.deepInclude(refused, { reason: "not-admitted" })
      assert.lengthOf((yield* offered("client")).half.queuePairs, 2)
      const stranger = yield* Effect.flip(offered("stranger"))
      assert.strictEqual(stranger._tag, "HandshakeFailed")
      assert.strictEqual(subjects.length, 2)
      assert.isNotEmpty(subjects[0])
    }).pipe(Effect.provide(IoPool.layer({ workers: 1 })))
  )
})

describe("one server", () => {
  it.live("serves several cards, until each is taken back", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const other = host.path.replace("@nic0", "@nic1")
      const rejects = (to: string) =>
        Effect.map(ask(host.server.port, typed(request(to))), (answer) =>
          String(JSON.parse(frameIn(answer)!.text).reply_msg)
        )
      assert.include(yield* rejects(other), "Local RDMA context not found for handshake NIC: nic1")
      const none = () => Effect.fail(new Rejected({ by: other, reason: "busy", text: "nothing" }))
      const reception = {
        takeOffer: none,
        takeAcknowledgement: none,
        takeFarewell: () => Effect.void
      }
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* host.server.serve(other, reception)
          assert.strictEqual(yield* rejects(other), "busy: nothing")
          assert.strictEqual(yield* rejects(host.path), "")
        })
      )
      assert.include(yield* rejects(other), "Local RDMA context not found")
      assert.include(yield* rejects("10.9.9.9:1@nic0"), "peer nic path inconsistency")
    }).pipe(Effect.provide(pool))
  )

  it.live("holds a bounded number of notifies", () =>
    Effect.gen(function* () {
      const { server } = yield* make({ notifies: 2 })
      const send = (name: string) => {
        const text = `{"name":"${name}","notify_msg":"hello"}\n`
        return ask(server.port, typed(text, FrameType.notify))
      }
      for (const name of ["a", "b"]) {
        const { text } = frameIn(yield* send(name))!
        assert.strictEqual(text, '{"name":"","notify_msg":"success"}\n')
      }
      assert.strictEqual((yield* send("c")).length, 0)
      assert.deepStrictEqual(yield* Queue.take(server.notifies), { name: "a", message: "hello" })
      assert.isNotEmpty(yield* send("d"))
    }).pipe(Effect.provide(pool))
  )

  it.live(
    "closed: holds a bounded length of notifies, and has room again when they are taken",
    () =>
      Effect.gen(function* () {
        const { server } = yield* make({ notifyBytes: 4_000 })
        const send = (message: string) => {
          const text = JSON.stringify({ name: "n", notify_msg: message })
          return Effect.map(
            ask(server.port, typed(text, FrameType.notify)),
            ({ length }) => length > 0
          )
        }
        const long = "x".repeat(900)
        const sent = [yield* send(long), yield* send(long), yield* send(long), yield* send("short")]
        assert.deepStrictEqual(sent, [true, true, false, true])
        yield* Queue.take(server.notifies)
        assert.deepStrictEqual([yield* send(long), yield* send(long)], [true, false])
      }).pipe(Effect.provide(pool))
  )

  it.live("closed: asks before it says what it has", () =>
    Effect.gen(function* () {
      let isAdmitted = false
      const description = { nics: [], buffers: [] }
      const segment = Segment.fromDescription("a", description)
      const { server } = yield* make({
        segment: Effect.sync(() => segment),
        admit: () => isAdmitted
      })
      const question = typed("{}", FrameType.metadata)
      assert.strictEqual((yield* ask(server.port, question)).length, 0)
      isAdmitted = true
      assert.include(frameIn(yield* ask(server.port, question))!.text, '"name":"a"')
    }).pipe(Effect.provide(pool))
  )

  it.live("closed: stops answering a caller that has gone", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const slow = host.path.replace("@nic0", "@slow")
      const begun = yield* Deferred.make<void>()
      const stopped = yield* Deferred.make<void>()
      const never = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
      )
      yield* host.server.serve(slow, {
        takeOffer: () => never,
        takeAcknowledgement: () => never,
        takeFarewell: () => never
      })
      const socket = yield* dial(host.server.port)
      socket.write(typed(request(slow)))
      yield* Deferred.await(begun)
      socket.destroy()
      yield* Deferred.await(stopped)
    }).pipe(Effect.provide(pool))
  )

  it.live("lives on when a reception breaks", () =>
    Effect.gen(function* () {
      const host = yield* make()
      const broken = host.path.replace("@nic0", "@broken")
      const die = () => Effect.die("a planted defect")
      yield* host.server.serve(broken, {
        takeOffer: die,
        takeAcknowledgement: die,
        takeFarewell: die
      })
      assert.strictEqual((yield* ask(host.server.port, typed(request(broken)))).length, 0)
      yield* good(host)
    }).pipe(Effect.provide(pool))
  )
})
