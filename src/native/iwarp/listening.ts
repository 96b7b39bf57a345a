/** Who waits for connections on a device, and the requests that arrive. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import { unlimited } from "../../schema/iwarp/Mpa.ts"
import type {
  AcceptOptions,
  Address,
  Connection,
  ConnectRequest,
  Listener,
  ListenOptions
} from "../verbs/Connection.ts"
import { hold, Holding } from "../verbs/soft/holdings.ts"
import {
  type AcceptError,
  AddressInUse,
  InvalidAttribute,
  type ListenError,
  Released
} from "../verbs/VerbsError.ts"
import type { Listener as PoolListener } from "../IoPool.ts"
import type { OpenFailed } from "../OpenFailed.ts"
import type { Card } from "./card.ts"
import { accept, privateDataLimit } from "./connecting.ts"
import * as Link from "./link.ts"
import { type Event, hexOf, octetsOf } from "./talk.ts"

/** What a caller said of itself. */
export type Said = Extract<Event, { say: "request" }>

/** Requests that wait for a program, as in sockets. */
const defaultBacklog = 128

const silence = new Uint8Array(0)

/** Says no. */
export const turnAway = (link: Link.Link, privateData: Uint8Array): void => {
  link.command({ do: "reject", privateData: hexOf(privateData) })
}

/** A request that arrived. It is answered once. */
class IwarpRequest implements ConnectRequest {
  readonly peer: Address
  readonly privateData: Uint8Array
  readonly inboundReads: number
  readonly outboundReads: number
  readonly #card: Card
  readonly #link: Link.Link
  #isAnswered = false

  constructor(card: Card, link: Link.Link, said: Said) {
    const { address: host, port } = link.lane.peer
    this.#card = card
    this.#link = link
    this.peer = { host, port }
    this.privateData = octetsOf(said.privateData)
    this.inboundReads = said.ord === unlimited ? 0 : said.ord
    this.outboundReads = said.ird === unlimited ? 0 : said.ird
    card.fork(
      Effect.delay(
        Effect.sync(() => this.rejectUnsafe(silence)),
        card.settings.decideWithin
      )
    )
  }

  accept(options: AcceptOptions): Effect.Effect<Connection, AcceptError, Scope.Scope> {
    return Effect.suspend(() => {
      const isFirst = !this.#isAnswered
      this.#isAnswered = true
      const answered = accept(this.#card, isFirst ? this.#link : undefined, options)
      if (!isFirst) return answered
      return Effect.onError(answered, () => Effect.sync(() => this.#link.leave("at once")))
    })
  }

  reject(privateData: Uint8Array = silence): Effect.Effect<void> {
    return Effect.sync(() => this.rejectUnsafe(privateData))
  }

  rejectUnsafe(privateData: Uint8Array): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    turnAway(this.#link, privateData.slice(0, privateDataLimit))
  }
}

/** Takes callers in, and hands them over once they have said who they are. */
export const receive = Effect.fnUntraced(function* (
  card: Card,
  listener: PoolListener,
  called: (link: Link.Link, said: Said) => void
) {
  let callers = 0
  const greet = (link: Link.Link) =>
    Deferred.await(link.request).pipe(
      Effect.timeoutOption(card.settings.requestWithin),
      Effect.map((said) =>
        said._tag === "Some" ? called(link, said.value) : link.leave("at once")
      ),
      Effect.ignore,
      Effect.ensuring(Effect.sync(() => (callers -= 1)))
    )
  while (true) {
    const link = yield* Link.open(listener.accept, card.scope)
    callers += 1
    if (callers > card.settings.callers) link.leave("at once")
    yield* Effect.forkIn(greet(link), card.scope, { startImmediately: true })
  }
})

/** A listener on a device. */
class IwarpListener implements Listener {
  readonly address: Address
  readonly holding: Holding
  readonly take: Effect.Effect<ConnectRequest, Released>
  readonly #card: Card
  readonly #requests: Queue.Queue<IwarpRequest, Released>

  constructor(card: Card, address: Address, requests: Queue.Queue<IwarpRequest, Released>) {
    this.address = address
    this.take = Queue.take(requests)
    this.#card = card
    this.#requests = requests
    this.holding = new Holding("listener", [card.holding], () => this.#release())
  }

  called(link: Link.Link, said: Said): void {
    const isLate = this.holding.isReleased
    if (isLate || Queue.isFullUnsafe(this.#requests)) turnAway(link, silence)
    else Queue.offerUnsafe(this.#requests, new IwarpRequest(this.#card, link, said))
  }

  #release(): void {
    for (;;) {
      const request = Queue.takeUnsafe(this.#requests)
      if (request?._tag !== "Success") break
      request.value.rejectUnsafe(silence)
    }
    const resource = `listener on ${this.address.port}`
    const gone = new Released({ resource, reason: "released" })
    Queue.failCauseUnsafe(this.#requests, Cause.fail(gone))
  }
}

const inUse = new Set(["EADDRINUSE"])

const errorOf =
  (host: string, port: number) =>
  ({ code, message }: OpenFailed): ListenError =>
    inUse.has(code)
      ? new AddressInUse({ host, port })
      : new InvalidAttribute({ operation: "listen", attribute: "address", detail: message })

/** Listens on all these addresses, on one port; those after the first must only be possible. */
export const bindAll = Effect.fnUntraced(function* (
  card: Card,
  hosts: ReadonlyArray<string>,
  port: number,
  backlog: number
) {
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

/** Listens on a device. */
export const listen = Effect.fnUntraced(function* (
  card: Card,
  { backlog = defaultBacklog, host, port = 0 }: ListenOptions
): Effect.fn.Return<Listener, ListenError, Scope.Scope> {
  if (card.holding.isReleased) {
    return yield* new Released({ resource: card.name, reason: "released" })
  }
  const own = card.gids.map(({ gid }) => Gid.toAddress(gid))
  const gid = host === undefined ? undefined : Gid.fromAddress(host)
  if (host !== undefined && !card.gids.some((entry) => entry.gid === gid)) {
    const detail = `${host} is none of ${own.join(", ")}, the device's addresses`
    return yield* new InvalidAttribute({ operation: "listen", attribute: "host", detail })
  }
  const scope = yield* Effect.acquireRelease(Scope.fork(card.scope), (scope) =>
    Scope.close(scope, Exit.void)
  )
  const bound = yield* Scope.provide(
    bindAll(card, host === undefined ? own : [host], port, backlog),
    scope
  )
  const requests = yield* Queue.dropping<IwarpRequest, Released>(backlog)
  const listener = yield* hold(Effect.sync(() => new IwarpListener(card, bound.address, requests)))
  for (const each of bound.listeners) {
    const receiving = receive(card, each, (link, said) => listener.called(link, said))
    yield* Effect.forkIn(receiving, scope, { startImmediately: true })
  }
  return listener
})
