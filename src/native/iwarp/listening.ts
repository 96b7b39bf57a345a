/** Listens on a device, and passes arriving callers on. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { canonicalHost } from "../../schema/Address.ts"
import { unlimited } from "../../schema/iwarp/Mpa.ts"
import type { IncomingRequest } from "../verbs/provider/connect.ts"
import { noBytes } from "../verbs/provider/connection.ts"
import type { OnRequest, ListenAddress } from "../verbs/provider/listen.ts"
import { AddressInUse, InvalidAttribute, type ListenError } from "../verbs/VerbsError.ts"
import { ConnectionLimiter } from "../io/ConnectionLimiter.ts"
import type { Listener } from "../io/IoPool.ts"
import type { SocketOpenError } from "../io/PoolError.ts"
import type { IwarpDevice } from "./openDevice.ts"
import { accept, type IwarpConnection } from "./connecting.ts"
import * as Link from "./sessionHandle.ts"
import { type Event, hexOf, bytesOfHex } from "./sessionProtocol.ts"

/** A caller's connect request, as its session reports it. */
export type ConnectRequestEvent = Extract<Event, { say: "request" }>

/** Rejects a caller. */
export const turnAway = (link: Link.SessionHandle, privateData: Uint8Array): void => {
  link.command({ do: "reject", privateData: hexOf(privateData) })
}

/** A caller's request, and the operations that answer it. */
const incomingRequestOf = (
  device: IwarpDevice,
  link: Link.SessionHandle,
  said: ConnectRequestEvent
): IncomingRequest<IwarpConnection> => {
  const { address, port } = link.lane.peer
  return {
    peer: { host: canonicalHost(address), port },
    privateData: bytesOfHex(said.privateData),
    inboundReads: said.ord === unlimited ? 0 : said.ord,
    outboundReads: said.ird === unlimited ? 0 : said.ird,
    accept: (connection, params) => accept(device, link, connection, params),
    reject: (privateData) => turnAway(link, privateData)
  }
}

/**
 * Accepts callers, and passes each on once it has sent its request. A caller counts as unproven
 * until its first FPDU has come: any host can send a request.
 */
const receive = Effect.fnUntraced(function* (
  device: IwarpDevice,
  listener: Listener,
  unproven: ConnectionLimiter<Link.SessionHandle>,
  called: (link: Link.SessionHandle, said: ConnectRequestEvent) => void
) {
  const greet = (link: Link.SessionHandle) =>
    Deferred.await(link.request).pipe(
      Effect.timeoutOption(device.settings.requestWithinMs),
      Effect.map((said) =>
        said._tag === "Some" ? called(link, said.value) : link.disconnect("at once")
      ),
      Effect.ignore,
      Effect.andThen(Deferred.await(link.proven)),
      Effect.ensuring(Effect.sync(() => unproven.release(link)))
    )
  while (true) {
    const link = yield* Link.open(listener.accept, device.scope)
    // A caller that is not admitted is disconnected before its first byte is read.
    if (!device.admits(link.lane.peer.address)) {
      link.disconnect("at once")
      continue
    }
    unproven.admit(link, link.lane.peer.address)?.disconnect("at once")
    yield* Effect.forkIn(greet(link), device.scope, { startImmediately: true })
  }
})

const inUse = new Set(["EADDRINUSE"])

const errorOf =
  (host: string, port: number) =>
  ({ code, message }: SocketOpenError): ListenError =>
    inUse.has(code)
      ? new AddressInUse({ host, port })
      : new InvalidAttribute({ operation: "listen", attribute: "address", detail: message })

/** Listens on all these addresses, on one port; those after the first may fail. */
const bindAll = Effect.fnUntraced(function* (
  device: IwarpDevice,
  { backlog, hosts, port }: ListenAddress
) {
  const [first = "", ...others] = hosts
  const bound = yield* Effect.mapError(
    device.listen({ host: first, port }, backlog),
    errorOf(first, port)
  )
  const more = yield* Effect.forEach(others, (host) =>
    device.listen({ host, port: bound.port }, backlog).pipe(
      Effect.map((listener) => [listener]),
      Effect.catch((error) =>
        inUse.has(error.code)
          ? Effect.fail(new AddressInUse({ host, port: bound.port }))
          : Effect.succeed([])
      )
    )
  )
  return { address: { host: first, port: bound.port }, listeners: [bound, ...more.flat()] }
})

/** Listens at each address that is added, until the Scope closes. */
const listenAtNewAddresses = Effect.fnUntraced(function* (
  device: IwarpDevice,
  hosts: ReadonlyArray<string>,
  listen: (host: string) => Effect.Effect<unknown, SocketOpenError, Scope.Scope>
) {
  const scope = yield* Effect.scope
  // If the port is taken, by another process or by this one, there is nothing to do.
  const tell = (host: string) => device.fork(Effect.ignore(Scope.provide(listen(host), scope)))
  yield* Effect.acquireRelease(
    Effect.sync(() => device.onAddressAdded.add(tell)),
    () => Effect.sync(() => device.onAddressAdded.delete(tell))
  )
  // Addresses that were added while the others were bound.
  for (const host of device.addresses) if (!hosts.includes(host)) tell(host)
})

/** Accepts callers, also at new addresses, until the Scope or the device closes. */
export const listenForCallers = Effect.fnUntraced(function* (
  device: IwarpDevice,
  at: ListenAddress,
  called: (link: Link.SessionHandle, said: ConnectRequestEvent) => void
) {
  const scope = yield* Effect.acquireRelease(Scope.fork(device.scope), (scope) =>
    Scope.close(scope, Exit.void)
  )
  // Listeners that were bound before the failure must be closed again.
  const { address, listeners } = yield* Scope.provide(bindAll(device, at), scope).pipe(
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  const { callersMax: connections, callersPerAddressMax: perAddress } = device.settings
  const unproven = new ConnectionLimiter<Link.SessionHandle>({ connections, perAddress })
  const take = (listener: Listener) =>
    Effect.forkIn(receive(device, listener, unproven, called), scope, { startImmediately: true })
  yield* Effect.forEach(listeners, take, { discard: true })
  const more = (host: string) =>
    Effect.flatMap(device.listen({ host, port: address.port }, at.backlog), take)
  if (at.isEverywhere) yield* Scope.provide(listenAtNewAddresses(device, at.hosts, more), scope)
  return address
})

/** Listens, and reports requests; one that is not answered in time is rejected. */
export const listen = Effect.fnUntraced(function* (
  device: IwarpDevice,
  at: ListenAddress,
  ask: OnRequest<IwarpConnection>
) {
  let isOver = false
  const address = yield* listenForCallers(device, at, (link, said) => {
    const request = isOver ? undefined : ask(incomingRequestOf(device, link, said))
    if (request === undefined) return turnAway(link, noBytes)
    const late = Effect.sync(() => request.rejectUnsafe(noBytes))
    device.fork(Effect.delay(late, device.settings.decideWithinMs))
  })
  return { address, end: () => void (isOver = true) }
})
