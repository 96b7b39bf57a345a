/**
 * Goal: what newer or differently configured Mooncakes do neither breaks a peer nor is passed over
 * in silence (R37, R38, R39). Method: scripted peers that speak as they do. These members and paths
 * are written from their description: no such Mooncake was recorded.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Directory } from "../../../src/actors/rdma/Directory.ts"
import { EndpointError } from "../../../src/actors/endpoint/EndpointError.ts"
import {
  Handshakes,
  type Offer,
  type RejectReason
} from "../../../src/actors/endpoint/Handshake.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { FrameReader, FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import { success, vector } from "../../schema/mooncake/vectors.ts"
import { ask, frameIn, onFabric, pool, script, tcpHost, typed } from "./tcp.ts"

const segment = (members: object) => {
  const recorded = JSON.parse(vector("legacy.server.metadata reply").sent.text!)
  return `${JSON.stringify({ ...recorded, ...members })}\n`
}

/** A peer that answers questions with a segment, and handshakes as if it had that path. */
const peer = (heard: Array<string>, members: (port: number) => object) =>
  Effect.gen(function* () {
    const port: number = yield* script((socket) => {
      const reader = new FrameReader()
      socket.on("data", (piece) => {
        reader.push(piece)
        const { frame } = reader
        if (frame === undefined) return
        if (frame.type === FrameType.metadata) {
          return void socket.end(typed(segment(members(port)), FrameType.metadata))
        }
        heard.push(frame.text)
        const said = JSON.parse(frame.text)
        const reply = {
          ...said,
          local_nic_path: said.peer_nic_path,
          peer_nic_path: said.local_nic_path
        }
        socket.end(typed(`${JSON.stringify(reply)}\n`))
      })
    })
    return port
  })

const offerTo = (to: string): Offer => ({
  from: "127.0.0.1:1@nic0",
  to,
  half: {
    queuePairs: [1, 2],
    gid: Gid.fromAddress("10.0.0.1")!,
    lid: 0,
    epoch: undefined,
    mtu: undefined
  },
  knows: undefined,
  hasGate: true
})

const calling = TcpHandshakes.layerWithDirectory({ connectWithinMs: 300 })

describe("R37: a peer whose RDMA has an address of its own", () => {
  const bound = "203.0.113.9:15001"

  it.live("is called where it was asked", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const port = yield* peer(heard, () => ({ rdma_server_name: bound }))
      const directory = yield* Directory
      yield* directory.resolve(`127.0.0.1:${port}`)
      const { offer } = yield* Handshakes
      const answer = yield* offer(offerTo(`${bound}@fake0`))
      assert.strictEqual(answer.from, `${bound}@fake0`)
      assert.strictEqual(heard.length, 1)
      // Others are called by their paths.
      const failed = yield* Effect.flip(offer(offerTo("127.0.0.1:1@fake0")))
      assert.deepInclude(failed, { _tag: "HandshakeFailed", step: "connect" })
    }).pipe(Effect.provide(Layer.provideMerge(calling, pool)))
  )

  for (const isFirst of [false, true]) {
    it.live(
      `cannot take the name of another one that is asked ${isFirst ? "later" : "before"}`,
      () =>
        Effect.gen(function* () {
          const [victim, thief]: [Array<string>, Array<string>] = [[], []]
          const port = yield* peer(victim, (port) => ({ name: `127.0.0.1:${port}` }))
          const name = `127.0.0.1:${port}`
          const other = yield* peer(thief, () => ({ rdma_server_name: name }))
          const directory = yield* Directory
          const { offer } = yield* Handshakes
          for (const asked of isFirst ? [other, port] : [port, other]) {
            yield* directory.resolve(`127.0.0.1:${asked}`)
          }
          yield* offer(offerTo(`${name}@fake0`))
          assert.deepStrictEqual([victim.length, thief.length], [1, 0])
        }).pipe(Effect.provide(Layer.provideMerge(calling, pool)))
    )
  }
})

describe("R38: a refusal", () => {
  const refusals = {
    "wrong-path": "Invalid argument: peer nic path inconsistency, expect x@y, but got z@y",
    incompatible: "QP count mismatch in peer and local endpoints, check MC_MAX_EP_PER_CTX",
    "not-admitted": "not-admitted: a@b may not connect",
    other: "a reason of a later Mooncake"
  } as const
  for (const [kind, text] of Object.entries(refusals) as Array<[RejectReason, string]>) {
    it.live(`is ${kind} in the error that callers get`, () =>
      Effect.gen(function* () {
        const port = yield* script((socket) =>
          socket.once("data", () => socket.end(typed(`${JSON.stringify({ reply_msg: text })}\n`)))
        )
        const fabric = yield* SimFabric.make()
        const host = yield* tcpHost().pipe(Effect.provide(onFabric(fabric, "a")))
        const failure = yield* Effect.flip(host.store.open(`127.0.0.1:${port}@mlx5_0`))
        assert.instanceOf(failure, EndpointError)
        assert.deepInclude(failure.reason, { _tag: "Refused", refusal: kind })
      }).pipe(Effect.provide(pool))
    )
  }

  it.live("is none if nobody could be asked", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(script(() => {}))
      const fabric = yield* SimFabric.make()
      const host = yield* tcpHost().pipe(Effect.provide(onFabric(fabric, "a")))
      const failure = yield* Effect.flip(host.store.open(`127.0.0.1:${port}@mlx5_0`))
      assert.instanceOf(failure, EndpointError)
      assert.strictEqual(failure.reason._tag, "Unreachable")
    }).pipe(Effect.provide(pool))
  )
})

describe("R10 R38: a peer that does not say its MTU", () => {
  it.live("is warned of once for a NIC", () => {
    const said: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn") said.push(String(message))
    })
    return Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const host = yield* tcpHost().pipe(Effect.provide(onFabric(fabric, "a")))
      const known = { ...offerTo(host.path).half, epoch: "0123abcd.1" as never, mtu: 1024 as const }
      yield* host.store.takeOffer({ ...offerTo(host.path), from: "10.0.0.1:1@own", half: known })
      assert.deepStrictEqual(said, [])
      for (const server of ["10.0.0.2:1", "10.0.0.3:1"]) {
        yield* host.store.takeOffer({ ...offerTo(host.path), from: `${server}@mlx5_0` })
      }
      assert.strictEqual(said.length, 1)
      assert.include(said[0], "10.0.0.2:1@mlx5_0")
      assert.include(said[0], host.path)
    }).pipe(Effect.provide(Layer.mergeAll(Logger.layer([logger]), pool)))
  })
})

describe("R39: what newer Mooncakes say", () => {
  const request = JSON.parse(vector("head.server.new-qpns request").sent.text!)

  const answerTo = (text: string) =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const path = request.peer_nic_path
      const { server } = yield* tcpHost({ path }).pipe(Effect.provide(onFabric(fabric, "m")))
      return JSON.parse(frameIn(yield* ask(server.port, typed(text)))!.text)
    })

  it.live("a request for a control channel is refused by name", () =>
    Effect.gen(function* () {
      const asked = { ...request, peer_nic_path: "__ctrl__", qp_num: [], ctrl_channel: true }
      const reply = yield* answerTo(`${JSON.stringify(asked)}\n`)
      assert.strictEqual(reply.reply_msg, "RDMA control channel is not supported")
      assert.deepStrictEqual(reply.qp_num, [])
    }).pipe(Effect.provide(pool))
  )

  it.live("members of notifies over RDMA are ignored, and not echoed", () =>
    Effect.gen(function* () {
      const asked = { ...request, ctrl_channel: false, notify_qp_num: 17, notify_rq_depth: 64 }
      const reply = yield* answerTo(`${JSON.stringify(asked)}\n`)
      assert.strictEqual(reply.reply_msg, "")
      const plain = yield* answerTo(`${JSON.stringify(request)}\n`)
      assert.deepStrictEqual(Object.keys(reply), Object.keys(plain))
    }).pipe(Effect.provide(pool))
  )

  it("a segment with a LID of 32 bits and unknown members is read", () => {
    const [device] = JSON.parse(segment({})).devices
    const text = segment({
      devices: [{ ...device, lid: 0x1_0007, numa: 1 }],
      tcp_link_count: 4,
      tcp_transport: { host: "10.0.0.1", ports: [1, 2] }
    })
    const read = success(SegmentDescriptor.decode(text))
    assert.strictEqual(read.devices[0]!.lid, 0x1_0007)
    assert.strictEqual(read.buffers.length, 1)
  })
})
