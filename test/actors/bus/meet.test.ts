/**
 * Goal: `meet` says what listens at an address that is no node, within its deadline (G16).
 * Method: sockets on loopback that accept and say nothing, answer in RESP, close, or speak TLS,
 * plain and TLS nodes beside them.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { MeetFailed } from "../../../src/actors/bus/BusError.ts"
import { BusNode, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { tlsOf } from "../../native/io/harness.ts"

const nodeTimeoutMs = 2_000
const pool = IoPool.layer({ workers: 1, closeWithinMs: 200 })
const [serverTls, clientTls, strangerTls] = [tlsOf("server"), tlsOf("client"), tlsOf("stranger")]

const start = (settings: Settings = {}) => {
  const layer = BusNode.layerEphemeral({ nodeTimeoutMs, ...settings })
  return Layer.build(Layer.provide(layer, pool)).pipe(
    Effect.flatMap((context) => Effect.provide(BusNode, context))
  )
}

/** The port of a server that lives as long as the Scope. */
const listening = (server: net.Server) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        resume(Effect.succeed((server.address() as net.AddressInfo).port))
      })
    }),
    () => Effect.sync(() => void server.close())
  )

/** A server that answers nothing but RESP. */
const resp = (answer: string) => (socket: net.Socket) => {
  socket.on("error", () => {})
  socket.on("data", (bytes) => {
    if (bytes.toString("latin1").startsWith("*")) socket.write(answer)
  })
}

const line = (port: number) =>
  `$1\r\n${"0".repeat(40)} 127.0.0.1:${port}@7777 myself,master - 0 0 1 connected\n\r\n`

/** Node refuses no certificate here: with TLS 1.3 the client learns of it after its connect. */
const secured = (handle: (socket: net.Socket) => void) =>
  tls.createServer({ ...serverTls, requestCert: true, rejectUnauthorized: true }, handle)

interface Case {
  readonly what: string
  readonly server: () => net.Server
  readonly tls?: Settings["tls"]
  readonly reason: MeetFailed["reason"]
  readonly busPort?: (port: number) => number
}

const cases: ReadonlyArray<Case> = [
  {
    what: "a client port that says where its bus is",
    server: () => net.createServer(resp(line(1))),
    reason: "NotABus",
    busPort: () => 7_777
  },
  {
    what: "a client port that says nothing about a cluster",
    server: () => net.createServer(resp("-NOAUTH Authentication required.\r\n")),
    reason: "NotABus",
    busPort: (port) => port + 10_000
  },
  {
    what: "a client port over TLS",
    server: () => secured(resp(line(1))),
    tls: clientTls,
    reason: "NotABus",
    busPort: () => 7_777
  },
  { what: "a port that wants TLS", server: () => secured(() => {}), reason: "SpeaksTls" },
  {
    what: "a port that speaks no TLS",
    server: () => net.createServer((socket) => void socket.on("error", () => {}).destroy()),
    tls: clientTls,
    reason: "TlsRefused"
  },
  {
    what: "a port that refuses the certificate after the connect",
    server: () => secured(() => {}),
    tls: { ...clientTls, cert: strangerTls.cert!, key: strangerTls.key! },
    reason: "TlsRefused"
  },
  {
    what: "a port whose certificate is another authority's",
    server: () => tls.createServer(strangerTls, () => {}),
    tls: clientTls,
    reason: "TlsRefused"
  },
  {
    what: "a port that says nothing",
    server: () => net.createServer(resp("")),
    reason: "NoAnswer"
  },
  {
    what: "a port that closes",
    server: () => net.createServer((socket) => void socket.on("error", () => {}).end()),
    reason: "NoAnswer"
  }
]

describe("meet (G16)", () => {
  it.live.each(cases)("says of $what: $reason", ({ busPort, reason, server, tls }) =>
    Effect.gen(function* () {
      const bus = yield* start(tls === undefined ? {} : { tls })
      const port = yield* listening(server())
      const begun = Date.now()
      const failure = yield* Effect.flip(bus.meet(`127.0.0.1:${port}`))
      // The deadline and what a busy machine adds to it.
      assert.isBelow(Date.now() - begun, 2 * nodeTimeoutMs + 1_000)
      assert.strictEqual(failure.reason, reason, failure.detail)
      if (busPort !== undefined) assert.strictEqual(failure.bus, `127.0.0.1:${busPort(port)}`)
      assert.strictEqual((yield* bus.links).length, 0)
    }).pipe(Effect.scoped)
  )

  it.live("says that a member of a cluster which takes nobody in is of another one", () =>
    Effect.gen(function* () {
      const [first, second, stranger] = [yield* start(), yield* start(), yield* start()]
      yield* first.meet(second.address)
      for (const member of [first, second]) {
        const failure = yield* Effect.flip(stranger.meet(member.address))
        assert.strictEqual(failure.reason, "OtherCluster", failure.detail)
      }
      assert.strictEqual((yield* stranger.health).state, "notJoined")
      assert.strictEqual((yield* first.health).connected, 1)
    }).pipe(Effect.scoped)
  )

  it.live("fails at once where no connection is taken", () =>
    Effect.gen(function* () {
      const bus = yield* start({ nodeTimeoutMs: 3_600_000 })
      const failure = yield* Effect.flip(bus.meet("127.0.0.1:1"))
      assert.strictEqual(failure.reason, "NoAnswer")
      assert.include(failure.detail, "ECONNREFUSED")
    }).pipe(Effect.scoped)
  )

  it.live("still joins a node that answers after it was asked what it is", () =>
    Effect.gen(function* () {
      const [first, second] = [yield* start({ probeAfterMs: 1 }), yield* start()]
      yield* first.meet(second.address)
      assert.strictEqual((yield* first.health).state, "joined")
    }).pipe(Effect.scoped)
  )
})
