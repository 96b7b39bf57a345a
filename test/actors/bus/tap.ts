/** A relay on loopback that records the frames of the bus that pass it, in both directions. */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { frameLength } from "../../../src/schema/bus/Framing.ts"
import type { Message } from "../../../src/schema/bus/Message.ts"
import { decode } from "../../../src/schema/bus/MessageCodec.ts"

export interface Tapped {
  /** Who sent it: the last full frame before it on its side of the connection says so. */
  readonly from: string
  readonly message: Message
}

export interface Tap {
  readonly port: number
  readonly frames: ReadonlyArray<Tapped>
  /** Ends all connections; new ones are taken. */
  readonly cut: Effect.Effect<void>
}

/** Cuts one direction of a connection into frames; bytes that are none end the recording. */
const recorder = (frames: Array<Tapped>) => {
  let rest = Buffer.alloc(0)
  let from = ""
  return (bytes: Buffer): void => {
    rest = Buffer.concat([rest, bytes])
    while (true) {
      const length = frameLength(rest, 0, rest.length)
      if (typeof length !== "number" || length === 0 || rest.length < length) return
      const message = Result.getOrUndefined(decode(Uint8Array.from(rest.subarray(0, length))))
      rest = rest.subarray(length)
      from = message?.header?.sender ?? from
      if (message !== undefined) frames.push({ from, message })
    }
  }
}

const relay = (socket: net.Socket, port: number, frames: Array<Tapped>): net.Socket => {
  const far = net.connect(port, "127.0.0.1")
  for (const [one, other] of [
    [socket, far],
    [far, socket]
  ] as const) {
    const record = recorder(frames)
    one.on("data", (bytes) => {
      record(bytes)
      other.write(bytes)
    })
    one.on("error", () => {})
    one.on("close", () => other.destroy())
  }
  return far
}

/** A relay to a port, which ends with the Scope. */
export const tapped = (port: number): Effect.Effect<Tap, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ tap: Tap; server: net.Server }>((resume) => {
        const frames: Array<Tapped> = []
        const sockets = new Set<net.Socket>()
        const server = net.createServer((socket) => {
          for (const end of [socket, relay(socket, port, frames)]) {
            sockets.add(end)
            end.on("close", () => sockets.delete(end))
          }
        })
        const cut = Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
        })
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as net.AddressInfo
          resume(Effect.succeed({ tap: { port, frames, cut }, server }))
        })
      }),
      ({ server, tap }) =>
        Effect.andThen(
          Effect.sync(() => void server.close()),
          tap.cut
        )
    ),
    ({ tap }) => tap
  )
