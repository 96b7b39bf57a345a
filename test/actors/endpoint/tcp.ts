/** Hosts whose endpoints shake hands over TCP on the loopback interface, and raw peers. */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as EndpointStore from "../../../src/actors/endpoint/EndpointStore.ts"
import * as HandshakeServer from "../../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import * as Nic from "../../../src/actors/rdma/Nic.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import type { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { encode, type Frame, FrameReader, FrameType } from "../../../src/schema/mooncake/Frame.ts"

export interface HostOptions {
  /** Instead of the address of the own server. */
  readonly path?: string
  readonly device?: string
  readonly gidIndex?: number
  readonly server?: HandshakeServer.Options
  readonly store?: Omit<EndpointStore.Options, "nic">
}

export const pool = IoPool.layer({ workers: 0, closeWithinMs: 1_000 })

/** A server with the endpoints of one card. */
export const tcpHost = Effect.fnUntraced(function* (options: HostOptions = {}) {
  const server = yield* HandshakeServer.make({ host: "127.0.0.1", port: 0, ...options.server })
  const nic = yield* Nic.open({
    path: options.path ?? `127.0.0.1:${server.port}@${options.device ?? "nic0"}`,
    device: options.device,
    gidIndex: options.gidIndex
  })
  const store = yield* EndpointStore.make({ nic, ...options.store })
  yield* server.serve(nic.path, store)
  return { server, nic, store, path: nic.path }
})

export type TcpHost = Effect.Success<ReturnType<typeof tcpHost>>

/** What a host of a simulated fabric has. */
export const onFabric = (
  fabric: SimFabric,
  host: string,
  handshakes: TcpHandshakes.Options = {},
  gids = 1
) =>
  Layer.mergeAll(
    SimVerbs.layer(fabric, { host, gids }),
    TcpHandshakes.layer(handshakes),
    Journal.layerMemory
  )

/** A connection of a raw peer, closed with the Scope. */
export const dial = (port: number): Effect.Effect<net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback((resume) => {
      const socket = net.connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true })
      socket.on("error", () => {})
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** What came until the other side ended. */
export const heard = (socket: net.Socket): Effect.Effect<Buffer> =>
  Effect.callback((resume) => {
    const pieces: Array<Buffer> = []
    const end = () => resume(Effect.succeed(Buffer.concat(pieces)))
    socket.on("data", (piece) => pieces.push(piece))
    socket.once("end", end)
    socket.once("close", end)
  })

/** Sends bytes as Mooncake does, in pieces, and gives all that comes back. */
export const ask = (port: number, bytes: Uint8Array): Effect.Effect<Buffer> =>
  Effect.scoped(
    Effect.gen(function* () {
      const socket = yield* dial(port)
      socket.write(bytes.subarray(0, 8))
      socket.write(bytes.subarray(8, 9))
      socket.write(bytes.subarray(9))
      return yield* heard(socket)
    })
  )

export const frameIn = (bytes: Uint8Array): Frame | undefined => {
  const reader = new FrameReader()
  return reader.push(bytes) === bytes.length ? reader.frame : undefined
}

export const typed = (text: string, type: Frame["type"] = FrameType.connection): Uint8Array =>
  encode({ type, framing: "typed", text })

/** A server that does with each connection what the test says. */
export const script = (
  each: (socket: net.Socket, index: number) => void
): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const sockets = new Set<net.Socket>()
      let index = 0
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        each(socket, index++)
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as net.AddressInfo
        const close = () => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ port, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ port }) => port))

/** Answers each request with the text that the test gives for its text. */
export const answering = (answer: (text: string, index: number) => string | undefined) =>
  script((socket, index) => {
    const reader = new FrameReader()
    socket.on("data", (piece) => {
      reader.push(piece)
      if (reader.frame === undefined) return
      const text = answer(reader.frame.text, index)
      if (text !== undefined) socket.end(typed(text))
    })
  })
