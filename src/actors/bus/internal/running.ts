/**
 * A node on real lanes: its listener, its dials and its clock. Sockets are read by workers; what
 * they hand over is decided on here, on the main thread, one batch of frames at a time.
 */
import * as Clock from "effect/Clock"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import { FrameView } from "../../../schema/bus/FrameView.ts"
import type { FrameBatch } from "../../../native/io/FrameBatch.ts"
import { IoPool, type TlsSettings } from "../../../native/io/IoPool.ts"
import type { Lane } from "../../../native/io/Lane.ts"
import type { SocketOpenError } from "../../../native/io/PoolError.ts"
import { workerModule } from "../../../native/io/workerModule.ts"
import type * as Actor from "../../kernel/Actor.ts"
import * as Supervisor from "../../kernel/Supervisor.ts"
import { canonicalIp } from "./addresses.ts"
import type { BusRefused } from "../BusError.ts"
import { Board } from "./board.ts"
import { type Certificates, certificatesOf } from "./certificates.ts"
import { Note, repeatedAt } from "./framing.ts"
import type { SessionOptions } from "./framer.ts"
import { tickMs } from "./heartbeats.ts"
import { BusIdentity } from "./identity.ts"
import { Latest } from "./latest.ts"
import type { Address, Channel } from "./link.ts"
import type { Node } from "./node.ts"
import { Parts } from "./parts.ts"
import { type Found, probe } from "./probing.ts"
import { type NodeSettings, type Settings, settingsOf } from "./settings.ts"
import { checkSettings, defaultHost } from "./starting.ts"
import { keepPublication, Subscribers } from "./subscribers.ts"
import type { Outside } from "./table.ts"
import type { Undecoded } from "./typed.ts"
import type { PeerLink } from "./member.ts"
import { membersOf, type MembersView, type SlotsView } from "./views.ts"

const framer = workerModule(import.meta.url, "framer")

const sessionOptions = (settings: NodeSettings, { memory }: Board): SessionOptions => {
  const { maxFrameBytes, maxUnprovenBytes } = settings
  return { maxFrameBytes, maxUnprovenBytes, board: memory }
}

/** Bytes that a connection may send before it has shown whose it is. */
const unprovenBytes = ({ maxUnprovenBytes, maxUnprovenFrames }: NodeSettings): number =>
  maxUnprovenBytes * maxUnprovenFrames

/** A node and what its users see of it. */
export interface RunningNode {
  readonly node: Node
  readonly isNew: boolean
  readonly address: string
  readonly members: Latest<MembersView>
  readonly slots: Latest<SlotsView>
  readonly subscribers: Subscribers
  /** Finds out what listens at an address where no node answered. */
  readonly probe: (to: Address) => Effect.Effect<Found | undefined>
  readonly certificates: Certificates
  readonly reload: Effect.Effect<void, BusRefused | SocketOpenError>
  /** Threads that answer PINGs while the main one is busy. */
  readonly workers: Effect.Effect<number>
  /** Of all typed subscriptions. */
  readonly undecoded: Subscribers<Undecoded>
}

/** Hands the frames of a lane to the node, each where it lies. */
const reader = (node: Node, link: PeerLink): ((batch: FrameBatch) => void) => {
  const view = new FrameView()
  let isAnswered = false
  /** The last full frame was in order, so one that repeats its header is, too. */
  let isChecked = false
  return (batch) => {
    const now = node.table.outside.now()
    for (let k = 0; k < batch.count; k++) {
      const [from, to] = [batch.start(k), batch.end(k)]
      if (to - from <= Note.longestBytes) {
        isAnswered = node.noted(link, batch.bytes, from)
        continue
      }
      const isRepeated = isChecked && batch.bytes[from + repeatedAt] === 1
      const fault = view.read(batch.bytes, from, to, isRepeated)
      if (!view.isLight) isChecked = fault === undefined
      if (fault === undefined) node.take(link, view, isAnswered, now)
      else node.dropped()
      isAnswered = false
    }
  }
}

/** A channel over a lane, and an effect that waits until the node closes it. */
const channelOf = (lane: Lane): { channel: Channel; closed: Effect.Effect<void> } => {
  let isClosed = false
  let wake: (() => void) | undefined
  const close = () => {
    isClosed = true
    wake?.()
  }
  const closed = Effect.callback<void>((resume) => {
    wake = () => resume(Effect.void)
    if (isClosed) wake()
  })
  return { channel: { send: (bytes, spareBytes) => lane.send(bytes, spareBytes), close }, closed }
}

const remoteOf = ({ peer }: Lane): Address => ({
  ip: canonicalIp(peer.address) ?? peer.address,
  busPort: peer.port
})

/** Reads a lane until either side ends it. The lane closes with its Scope. */
const serve = (node: Node, link: PeerLink, lane: Lane, closed: Effect.Effect<void>) =>
  lane.run(reader(node, link)).pipe(
    // How a connection ends is the peer's affair, unless it is a defect of this node.
    Effect.tapError((error) => {
      link.failure = error
      return error.reason._tag === "HandlerFailed"
        ? Effect.logError("frames of a link", error)
        : Effect.void
    }),
    Effect.ignore,
    Effect.raceFirst(closed),
    Effect.ensuring(Effect.sync(() => node.closed(link)))
  )

const begin = (settings: Settings) =>
  Effect.gen(function* () {
    // A disk that is full for long costs records, and no link.
    const supervisor = yield* Supervisor.make({ journalOutage: Duration.infinity })
    const identity = yield* supervisor
      .spawn(BusIdentity, settings.name ?? "node")
      .pipe(Effect.catchTag("SupervisorStopped", Effect.die))
    const crypto = yield* WebCrypto.WebCrypto
    const draw = () => Buffer.from(crypto.getRandomValues(new Uint8Array(20))).toString("hex")
    const isNew = (yield* identity.state).id === ""
    const begun = identity.ask.Begin({ id: draw(), shard: draw() })
    yield* Effect.catchTag(begun, "MailboxFull", Effect.die)
    const state = yield* identity.state
    yield* Effect.annotateLogs(Effect.logDebug("a node starts"), { id: state.id, isNew })
    return { identity, isNew, state }
  })

type IdentityActor = Actor.Of<typeof BusIdentity>

/** Listens on the port that peers know; on another one only if that is taken and none was asked. */
const listen = (
  settings: Settings,
  tls: TlsSettings | undefined,
  nodeSettings: NodeSettings,
  known: number,
  options: SessionOptions,
  node: Deferred.Deferred<Node>
) =>
  Effect.gen(function* () {
    const pool = yield* IoPool
    const host = settings.listen?.host ?? defaultHost
    const secure = tls && { tls }
    const readAheadBytes = unprovenBytes(nodeSettings)
    const on = (port: number) =>
      pool.serve(
        { framer, options, at: { host, port }, on: "worker", readAheadBytes, ...secure },
        (lane) => Effect.flatMap(Deferred.await(node), (node) => accept(node, lane))
      )
    const wanted = settings.listen?.port
    if (wanted !== undefined || known === 0) return yield* on(wanted ?? 0)
    return yield* Effect.catchTag(on(known), "SocketOpenError", () => on(0))
  })

/** Fails when the node ends a link that is not connected yet. */
const abandoned = (link: PeerLink) =>
  Effect.callback<never, void>((resume) => {
    link.abandon = () => resume(Effect.fail(undefined))
    if (link.end !== undefined) link.abandon()
  })

/** Connects a link and serves it. */
const dial = (pool: IoPool["Service"], node: Node, { current }: Certificates, link: PeerLink) =>
  Effect.scoped(
    Effect.gen(function* () {
      const options = sessionOptions(node.table.settings, node.board)
      const to = { host: link.remote.ip, port: link.remote.busPort }
      const secure = current && { tls: current }
      const connecting = pool
        .connect({ framer, options, to, on: "worker", ...secure })
        .pipe(Effect.tapError((error) => Effect.sync(() => void (link.failure = error))))
      const lane = yield* Effect.raceFirst(connecting, abandoned(link))
      const { channel, closed } = channelOf(lane)
      node.opened(link, channel, remoteOf(lane))
      yield* serve(node, link, lane, closed)
    })
  ).pipe(Effect.ignore, Effect.ensuring(Effect.sync(() => node.closed(link))))

/** Publishes new views once per turn, however many frames changed them. */
const publisher = (
  members: Latest<MembersView>,
  slots: Latest<SlotsView>,
  node: () => Node,
  later: (act: () => void) => void
) => {
  let isDue = false
  let shownSlots = ""
  return (): void => {
    if (isDue) return
    isDue = true
    later(() => {
      isDue = false
      const { table } = node()
      members.set({ version: members.value.version + 1, members: membersOf(table) })
      const owners = table.slots.owners
      const text = JSON.stringify(owners)
      if (text === shownSlots) return
      shownSlots = text
      slots.set({ version: slots.value.version + 1, slots: owners })
    })
  }
}

const outsideOf = Effect.fnUntraced(function* (
  identity: IdentityActor,
  settings: Settings,
  parts: {
    readonly changed: () => void
    readonly subscribers: Subscribers
    readonly certificates: Certificates
    readonly node: () => Node
  }
) {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const pool = yield* IoPool
  const scope = yield* Effect.scope
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const { admit } = settings
  const outside: Outside = {
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6,
    unixSeconds: () => Math.floor(clock.currentTimeMillisUnsafe() / 1_000),
    random: () => random.nextDoubleUnsafe(),
    dial: (link) =>
      void run(Effect.forkIn(dial(pool, parts.node(), parts.certificates, link), scope)),
    admit: (id, address) =>
      typeof admit === "function"
        ? admit(id, `${address.ip}:${address.busPort}`)
        : admit === "anyone" || parts.node().table.proven.length === 0,
    changed: parts.changed,
    keep: (id, { busPort, ip }) => void identity.tellUnsafe.KeepPeer({ id, ip, busPort }),
    drop: (id) => void identity.tellUnsafe.DropPeer({ id }),
    removed: () => void identity.tellUnsafe.Remove(),
    returned: () => void identity.tellUnsafe.Return(),
    deliver: (publication) => parts.subscribers.deliver(publication, keepPublication),
    missed: (count) => parts.subscribers.miss(count),
    warn: (what, fields) => void run(Effect.annotateLogs(Effect.logWarning(what), fields))
  }
  return outside
})

const accept = (node: Node, lane: Lane) =>
  Effect.suspend(() => {
    const { channel, closed } = channelOf(lane)
    const link = node.accepted(channel, remoteOf(lane))
    return link === undefined ? Effect.void : serve(node, link, lane, closed)
  })

const run = Effect.fnUntraced(function* (node: Node, identity: IdentityActor) {
  yield* Effect.addFinalizer(() => Effect.sync(() => node.stop()))
  // An identity that ends for good has a newer owner, which speaks under this id now.
  const ended = Effect.andThen(
    Stream.runDrain(identity.events),
    Effect.sync(() => node.replaced())
  )
  yield* Effect.forkScoped(ended)
  const ticking = Effect.andThen(
    Effect.sleep(tickMs),
    Effect.sync(() => node.tick())
  )
  yield* Effect.forkScoped(Effect.forever(ticking))
})

/** Starts a node; it stops with the Scope. */
export const start = Effect.fnUntraced(function* (settings: Settings) {
  const nodeSettings = settingsOf(settings)
  const { certificates, reload } = yield* certificatesOf(settings)
  const seeds = yield* checkSettings(settings, nodeSettings, certificates.current)
  const { identity, isNew, state } = yield* begin(settings)
  const subscribers = new Subscribers()
  const undecoded = new Subscribers<Undecoded>()
  const members = new Latest<MembersView>({ version: 0, members: [] })
  const slots = new Latest<SlotsView>({ version: 0, slots: [] })
  const ready = yield* Deferred.make<Node>()
  const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
  const later = (act: () => void) => dispatcher.scheduleTask(act, 0)
  const changed = publisher(members, slots, () => node, later)
  const parts = { changed, subscribers, certificates, node: () => node }
  const outside = yield* outsideOf(identity, settings, parts)
  // Framers read the board from the first connection on, before the port is known to the node.
  const clock = yield* Clock.Clock
  const nanos = () => clock.monotonicTimeNanosUnsafe()
  const board = new Board(nodeSettings.maxMembers, unprovenBytes(nodeSettings), nanos)
  const options = sessionOptions(nodeSettings, board)
  const { current } = certificates
  const server = yield* listen(settings, current, nodeSettings, state.port, options, ready)
  const { address, port } = server
  // Without a record the next start is on another port, from which it finds its peers, too.
  yield* Effect.catch(identity.ask.TakePort({ port }), (error) =>
    Effect.logWarning("the port was not stored", error)
  )
  const { announce, clientPort = 0 } = settings
  const busPort = announce?.port ?? port
  const { shard = state.shard } = settings
  const self = { id: state.id, shard, ip: announce?.ip ?? "", busPort, clientPort }
  const { Node: MadeNode } = yield* Parts
  const node: Node = new MadeNode(self, nodeSettings, outside, board)
  if (state.isRemoved) node.stayAway()
  else for (const [peer, known] of state.peers) node.recall(peer, known)
  for (const seed of seeds) node.seed(seed)
  yield* Deferred.succeed(ready, node)
  yield* run(node, identity)
  const pool = yield* IoPool
  const prober = (to: Address) => probe(pool, to, nodeSettings.probeAfterMs, certificates.current)
  return {
    node,
    isNew,
    address,
    members,
    slots,
    subscribers,
    undecoded,
    certificates,
    reload: reload(server),
    workers: Effect.map(pool.stats, ({ workers }) => workers),
    probe: prober
  } satisfies RunningNode
})
