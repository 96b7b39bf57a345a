/**
 * A member of a Redis or Valkey cluster: it sees every change of topology and every publication as
 * the servers themselves do. It owns no slots, votes for nothing and serves no clients.
 *
 * ```ts
 * const bus = yield* BusNode
 * yield* bus.slots.pipe(Stream.runForEach(({ slots }) => follow(slots)))
 * yield* bus.subscribe("prices").pipe(Stream.runForEach(handle))
 * ```
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { IoPool } from "../../native/io/IoPool.ts"
import type { SocketOpenError } from "../../native/io/PoolError.ts"
import type { AlreadyRunning, Stopped } from "../kernel/ActorError.ts"
import type { RecoveryError } from "../kernel/Actor.ts"
import { Journal } from "../kernel/Journal.ts"
import { type BusRefused, ForgetRefused, type MeetFailed, NotPublished } from "./BusError.ts"
import { meet } from "./internal/meeting.ts"
import type { Published as PublishResult } from "./internal/node.ts"
import { type RunningNode, start } from "./internal/running.ts"
import type { Settings } from "./internal/settings.ts"
import { type Missed, type Published, type Room } from "./internal/subscribers.ts"
import { type Codec, decode, encode, type Received, type Undecoded } from "./internal/typed.ts"
import { type Health, healthOf, type LinkView, linksOf } from "./internal/views.ts"
import type { MembersView, SlotsView } from "./internal/views.ts"

export type { Published as PublishResult } from "./internal/node.ts"
export type { NodeSettings, Settings } from "./internal/settings.ts"
export type { SlotOwner } from "./internal/slotTable.ts"
export type { Missed, Published, Room } from "./internal/subscribers.ts"
export type { Codec, Received, Undecoded } from "./internal/typed.ts"
export type { Health, LinkView, MembersView, MemberView, SlotsView } from "./internal/views.ts"

/** Subscribes to bytes, or to values of a Schema. */
export interface Subscribe {
  (channel: string, room?: Room): Stream.Stream<Published | Missed>
  <A>(channel: string, schema: Codec<A>, room?: Room): Stream.Stream<Received<A> | Missed>
}

/** Publishes bytes or a text, or a value of a Schema. */
export interface Publish {
  (channel: string, message: Uint8Array | string): Effect.Effect<PublishResult, NotPublished>
  <A>(
    channel: string,
    schema: Codec<A>,
    value: A
  ): Effect.Effect<PublishResult, NotPublished | Schema.SchemaError>
}

interface Shape {
  readonly id: string
  /** Whether the id was drawn at this start; otherwise the journal had it. */
  readonly isNew: boolean
  /** The address for peers. */
  readonly address: string
  /** The members now, then each time they have changed. A slow reader sees the newest only. */
  readonly members: Stream.Stream<MembersView>
  /** The owners of all slots now, then each time they have changed. One failover is one change. */
  readonly slots: Stream.Stream<SlotsView>
  /** Every publication and module message from now on. */
  readonly publications: Stream.Stream<Published | Missed>
  /** Messages that are published on a channel: bytes, or values of a Schema as JSON. */
  readonly subscribe: Subscribe
  /** Publications from now on that are no value of a subscriber's Schema. */
  readonly undecoded: Stream.Stream<Undecoded | Missed>
  /** Publishes to the clients of all nodes, and returns how many nodes took it. */
  readonly publish: Publish
  /**
   * Publishes to the clients that have subscribed with SSUBSCRIBE, at the nodes that serve the
   * channel's slot.
   */
  readonly publishShard: Publish
  /**
   * Joins at a bus address: ends when links lead both ways, or with a reason. A node that is a
   * member already meets nodes of its own cluster, and those that its settings admit.
   */
  readonly meet: (address: string) => Effect.Effect<void, MeetFailed>
  /** Takes a node out of this node's own table. The others keep it. */
  readonly forget: (id: string) => Effect.Effect<void, ForgetRefused>
  /**
   * Asks for the settings of TLS again, if they are an effect, and uses them for all connections
   * from now on; those that are open stay. Settings that cannot be used change nothing.
   */
  readonly reload: Effect.Effect<void, BusRefused | SocketOpenError>
  readonly links: Effect.Effect<ReadonlyArray<LinkView>>
  readonly health: Effect.Effect<Health>
}

type Failure = BusRefused | SocketOpenError | RecoveryError | AlreadyRunning | Stopped

/** The node. */
export class BusNode extends Context.Service<BusNode, Shape>()("handfast/bus/BusNode") {
  /**
   * A node with its id, its port and its peers' addresses in the journal: after a restart it is the
   * same node, and finds its cluster through any peer that it reaches.
   */
  static readonly layer = (
    settings: Settings = {}
  ): Layer.Layer<BusNode, Failure, IoPool | Journal> =>
    Layer.effect(
      BusNode,
      Effect.gen(function* () {
        return shapeOf(yield* start(settings), settings)
      })
    )

  /**
   * A node that is another one after each start. The old ones stay in the tables of their clusters
   * until an administrator removes them.
   */
  static readonly layerEphemeral = (
    settings: Settings = {}
  ): Layer.Layer<BusNode, Failure, IoPool> =>
    Layer.provide(BusNode.layer(settings), Journal.layerMemory)
}

/** A channel's publications, decoded if there is a Schema. */
const subscribing = ({ node, subscribers, undecoded }: RunningNode): Subscribe => {
  const { settings } = node.table
  const defaultRoom: Room = { messages: settings.waitingMessages, bytes: settings.waitingBytes }
  const bytes = (channel: string, room: Room) => {
    const wanted = Buffer.from(channel)
    return subscribers.stream(
      ({ channel, type }) => type !== "module" && Buffer.compare(channel, wanted) === 0,
      room
    )
  }
  function subscribe(channel: string, room?: Room): Stream.Stream<Published | Missed>
  function subscribe<A>(
    channel: string,
    schema: Codec<A>,
    room?: Room
  ): Stream.Stream<Received<A> | Missed>
  function subscribe(channel: string, given?: Room | Codec<unknown>, room = defaultRoom) {
    return given !== undefined && "ast" in given
      ? decode(bytes(channel, room), given, undecoded)
      : bytes(channel, given ?? room)
  }
  return subscribe
}

const publishing = (send: (channel: Uint8Array, message: Uint8Array) => PublishResult): Publish => {
  const sent = (channel: string, message: Uint8Array) =>
    Effect.suspend(() => {
      const result = send(Buffer.from(channel), message)
      if (result.taken > 0) return Effect.succeed(result)
      return Effect.fail(new NotPublished({ full: result.full, closed: result.closed }))
    })
  function publish(
    channel: string,
    message: Uint8Array | string
  ): Effect.Effect<PublishResult, NotPublished>
  function publish<A>(
    channel: string,
    schema: Codec<A>,
    value: A
  ): Effect.Effect<PublishResult, NotPublished | Schema.SchemaError>
  function publish(channel: string, given: Uint8Array | string | Codec<unknown>, value?: unknown) {
    return typeof given !== "string" && "ast" in given
      ? Effect.flatMap(encode(given, value), (bytes) => sent(channel, bytes))
      : sent(channel, toBytes(given))
  }
  return publish
}

const toBytes = (text: Uint8Array | string): Uint8Array =>
  typeof text === "string" ? Buffer.from(text) : text

const dayMs = 86_400_000

const shapeOf = (running: RunningNode, settings: Settings): Shape => {
  const { members, node, slots, subscribers, undecoded } = running
  const { self, settings: limits } = node.table
  const defaultRoom: Room = { messages: limits.waitingMessages, bytes: limits.waitingBytes }
  return BusNode.of({
    id: self.id,
    isNew: running.isNew,
    address: `${settings.announce?.ip ?? running.address}:${self.busPort}`,
    members: members.stream,
    slots: slots.stream,
    publications: subscribers.stream(() => true, defaultRoom),
    subscribe: subscribing(running),
    undecoded: undecoded.stream(() => true, defaultRoom),
    publish: publishing((channel, message) => node.publish(channel, message)),
    publishShard: publishing((channel, message) => node.publishShard(channel, message)),
    meet: (address) => meet(running, address),
    forget: (id) =>
      Effect.suspend(() => {
        const result = node.forget(id)
        if (result === "forgotten") return Effect.void
        return Effect.fail(new ForgetRefused({ id, reason: result }))
      }),
    reload: running.reload,
    links: Effect.sync(() => linksOf(node.table)),
    health: Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const { endsAt } = running.certificates
      return healthOf(node.table, {
        undecoded: undecoded.count,
        answersWhileBusy: (yield* running.workers) > 0,
        certificateDays: endsAt === undefined ? undefined : Math.floor((endsAt - now) / dayMs)
      })
    })
  })
}
