/** Who waits for connections on a device, and the callers that arrive. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { unlimited } from "../../schema/iwarp/Mpa.ts"
import type { Asked } from "../verbs/provider/connect.ts"
import { nothing } from "../verbs/provider/connection.ts"
import type { Ask, At } from "../verbs/provider/listen.ts"
import { AddressInUse, InvalidAttribute, type ListenError } from "../verbs/VerbsError.ts"
import { ConnectionLimiter } from "../io/ConnectionLimiter.ts"
import type { Listener } from "../io/IoPool.ts"
import type { OpenFailed } from "../io/OpenFailed.ts"
import type { Card } from "./openDevice.ts"
import { accept, type IwarpConnection } from "./connecting.ts"
import * as Link from "./sessionHandle.ts"
import { type Event, hexOf, octetsOf } from "./sessionProtocol.ts"

/** What a caller said of itself. */
export type Said = Extract<Event, { say: "request" }>

/** Says no. */
export const turnAway = (link: Link.Link, privateData: Uint8Array): void => {
  link.command({ do: "reject", privateData: hexOf(privateData) })
}

/** What a caller wants, and how it is answered. */
const askedOf = (card: Card, link: Link.Link, said: Said): Asked<IwarpConnection> => {
  const { address: host, port } = link.lane.peer
  return {
    peer: { host, port },
    privateData: octetsOf(said.privateData),
    inboundReads: said.ord === unlimited ? 0 : said.ord,
    outboundReads: said.ird === unlimited ? 0 : said.ird,
    accept: (connection, wishes) => accept(card, link, connection, wishes),
    reject: (privateData) => turnAway(link, privateData)
  }
}

/**
 * Takes callers in, and hands each over once it has sent its request. A caller counts as unproven
 * until its first FPDU is here: anybody can send a request.
 */
const receive = Effect.fnUntraced(function* (
  card: Card,
  listener: Listener,
  unproven: ConnectionLimiter<Link.Link>,
  called: (link: Link.Link, said: Said) => void
) {
  const greet = (link: Link.Link) =>
    Deferred.await(link.request).pipe(
      Effect.timeoutOption(card.settings.requestWithin),
      Effect.map((said) =>
        said._tag === "Some" ? called(link, said.value) : link.leave("at once")
      ),
      Effect.ignore,
      Effect.andThen(Deferred.await(link.proven)),
      Effect.ensuring(Effect.sync(() => unproven.release(link)))
    )
  while (true) {
    const link = yield* Link.open(listener.accept, card.scope)
    // A stranger is left before its first byte is read, and takes no place of a peer's.
    if (!card.admits(link.lane.peer.address)) {
      link.leave("at once")
      continue
    }
    unproven.admit(link, link.lane.peer.address)?.leave("at once")
    yield* Effect.forkIn(greet(link), card.scope, { startImmediately: true })
  }
})

const inUse = new Set(["EADDRINUSE"])

const errorOf =
  (host: string, port: number) =>
  ({ code, message }: OpenFailed): ListenError =>
    inUse.has(code)
      ? new AddressInUse({ host, port })
      : new InvalidAttribute({ operation: "listen", attribute: "address", detail: message })

/** Listens on all these addresses, on one port; those after the first must only be possible. */
const bindAll = Effect.fnUntraced(function* (card: Card, { backlog, hosts, port }: At) {
  const [first = "", ...others] = hosts
  const bound = yield* Effect.mapError(
    card.listen({ host: first, port }, backlog),
    errorOf(first, port)
  )
  const more = yield* Effect.forEach(others, (host) =>
    card.listen({ host, port: bound.port }, backlog).pipe(
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

/** Listens at each address that comes, as long as the Scope is open. */
const follow = Effect.fnUntraced(function* (
  card: Card,
  hosts: ReadonlyArray<string>,
  listen: (host: string) => Effect.Effect<unknown, OpenFailed, Scope.Scope>
) {
  const scope = yield* Effect.scope
  // Where somebody else has the port, or we from before, there is nothing to do.
  const tell = (host: string) => card.fork(Effect.ignore(Scope.provide(listen(host), scope)))
  yield* Effect.acquireRelease(
    Effect.sync(() => card.everywhere.add(tell)),
    () => Effect.sync(() => card.everywhere.delete(tell))
  )
  // Those that came while the others were bound.
  for (const host of card.addresses) if (!hosts.includes(host)) tell(host)
})

/** Takes callers in, also at addresses that come, until the Scope closes or the device does. */
export const hear = Effect.fnUntraced(function* (
  card: Card,
  at: At,
  called: (link: Link.Link, said: Said) => void
) {
  const scope = yield* Effect.acquireRelease(Scope.fork(card.scope), (scope) =>
    Scope.close(scope, Exit.void)
  )
  // What was bound before the address that failed must be free again.
  const { address, listeners } = yield* Scope.provide(bindAll(card, at), scope).pipe(
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  const { callers: connections, callersPerAddress: perAddress } = card.settings
  const unproven = new ConnectionLimiter<Link.Link>({ connections, perAddress })
  const take = (listener: Listener) =>
    Effect.forkIn(receive(card, listener, unproven, called), scope, { startImmediately: true })
  yield* Effect.forEach(listeners, take, { discard: true })
  const more = (host: string) =>
    Effect.flatMap(card.listen({ host, port: address.port }, at.backlog), take)
  if (at.isEverywhere) yield* Scope.provide(follow(card, at.hosts, more), scope)
  return address
})

/** Listens, and tells of requests; one that nobody answers in time is rejected. */
export const listen = Effect.fnUntraced(function* (card: Card, at: At, ask: Ask<IwarpConnection>) {
  let isOver = false
  const address = yield* hear(card, at, (link, said) => {
    const request = isOver ? undefined : ask(askedOf(card, link, said))
    if (request === undefined) return turnAway(link, nothing)
    const late = Effect.sync(() => request.rejectUnsafe(nothing))
    card.fork(Effect.delay(late, card.settings.decideWithin))
  })
  return { address, end: () => void (isOver = true) }
})
