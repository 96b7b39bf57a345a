/** Accepts connections to the handshake port. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as net from "node:net"
import { bytes } from "../../../../native/io/Framer.ts"
import { IoPool } from "../../../../native/io/IoPool.ts"
import type { TlsSettings } from "../../../../native/io/IoPool.ts"
import { SocketOpenError } from "../../../../native/io/PoolError.ts"
import type { Port } from "./serverConnection.ts"
import { ofLane, ofSocket } from "./transport.ts"

interface Address {
  readonly host: string
  readonly port: number
}

interface Bound {
  readonly address: string
  readonly port: number
}

/** Callers that wait in the kernel. The peers of a cluster that restarts call at once. */
const backlog = 1_024

const failedAt = ({ host, port }: Address, error: NodeJS.ErrnoException): SocketOpenError =>
  new SocketOpenError({
    address: `${host}:${port}`,
    step: "listen",
    code: error.code ?? "",
    detail: error.message
  })

export const listenPlain = (
  port: Port,
  at: Address
): Effect.Effect<Bound, SocketOpenError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<net.Server, SocketOpenError>((resume) => {
      const server = net.createServer({ allowHalfOpen: true }, (socket) =>
        port.accept((events) => ofSocket(socket, events))
      )
      server.once("error", (error) => resume(Effect.fail(failedAt(at, error))))
      server.listen({ ...at, backlog }, () => {
        // The kernel repeats an accept that failed, for example for lack of a descriptor.
        server.on("error", () => {})
        resume(Effect.succeed(server))
      })
    }),
    (server) => Effect.sync(() => void server.close())
  ).pipe(Effect.map((server) => server.address() as net.AddressInfo))

/** A fiber of its own holds each lane, and each accepted lane starts the wait for the next. */
export const listenSecure = Effect.fnUntraced(function* (
  port: Port,
  at: Address,
  tls: TlsSettings
): Effect.fn.Return<Bound, SocketOpenError, IoPool | Scope.Scope> {
  const pool = yield* IoPool
  const scope = yield* Effect.scope
  const listener = yield* pool.listen({ framer: bytes, at, tls, backlog })
  const next: Effect.Effect<void> = Effect.scoped(
    Effect.flatMap(listener.accept, (lane) => {
      port.accept((events) => ofLane(lane, events))
      return Effect.andThen(
        Effect.suspend(() => Effect.forkIn(next, scope)),
        Effect.asVoid(lane.closed)
      )
    })
  )
  yield* Effect.forkIn(next, scope)
  return listener
})
