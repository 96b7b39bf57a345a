/**
 * A node in a cluster of real servers on loopback, and what must hold at the end of every test:
 * that no retry and no deadline has hidden anything (G25).
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BusNode, type MemberView, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { descriptors } from "../../native/io/harness.ts"
import { cluster, freePort, type Kind, lineOf, type Server, server, until } from "./servers.ts"
import { type Tap, tapped } from "./tap.ts"

export const nodeTimeoutMs = 4_000

export type Bus = BusNode["Service"]

/** How a node and its cluster are begun. */
export interface Options extends Settings {
  readonly kind: Kind
  /** Who sends the MEET. Default: the node. */
  readonly metBy?: "node" | "server"
  /** Whether every frame to and from servers and the node is recorded. */
  readonly isTapped?: boolean
}

/**
 * What a test has cost by its end. Everything else must be as after the join: one dial and one link
 * each way for each peer, no deadline that fired, no frame that was dropped.
 */
export interface Losses {
  /** Servers whose links were made again: the only ones that were dialled again. */
  readonly renewed?: ReadonlyArray<Server>
  /** Publications that were too long. */
  readonly framesSkipped?: number
  /** A server was a stranger for a while: what it said then was dropped. */
  readonly hadStranger?: boolean
  /** Every server has forgotten the node. */
  readonly isRemoved?: boolean
}

/** What a test has in its hands. */
export interface Live {
  readonly kind: Kind
  /** The servers of the cluster, to which a test may add. */
  readonly servers: Array<Server>
  /** The node; another one after a restart. */
  bus: Bus
  /** Every frame so far, if it is recorded. */
  readonly frames: () => ReadonlyArray<Tap["frames"][number]>
  /** Ends the node, and starts it again with the same journal. */
  readonly restart: (settings?: Settings, meanwhile?: Effect.Effect<void>) => Effect.Effect<void>
}

export const stateOf = (bus: Bus, id: string): Effect.Effect<MemberView["state"] | undefined> =>
  Effect.map(Stream.runCollect(Stream.take(bus.members, 1)), ([view]) => {
    return view!.members.find((member) => member.id === id)?.state
  })

/** Waits until a node sees a member in a state. */
export const sees = (bus: Bus, id: string, state: MemberView["state"]): Effect.Effect<void> =>
  until(Effect.map(stateOf(bus, id), (seen) => seen === state))

export const isConnected = (server: Server, { id }: Bus): Effect.Effect<boolean> =>
  Effect.map(
    lineOf(server, id),
    (line) => line?.link === "connected" && /^(master|primary)$/.test(line.flags)
  )

/** Waits until links lead both ways, as either side sees it. */
export const joined = (servers: ReadonlyArray<Server>, bus: Bus) =>
  Effect.gen(function* () {
    for (const server of servers) {
      yield* until(isConnected(server, bus))
      yield* sees(bus, server.id, "connected")
      // A server binds a link to this node with the first frame after it has taken this node in.
      yield* until(Effect.map(linksOf(server, bus), isPair))
    }
  })

/** The links of a server to and from a node: direction and time of creation. */
const linksOf = (server: Server, { id }: Bus): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(server.ask("cluster", "links"), (text) => {
    const fields = text.split("\n")
    const links = fields.flatMap((line, k) => {
      if (line.trim() !== id) return []
      return [`${fields[k - 2]?.trim()} ${fields[k + 2]?.trim()}`]
    })
    return links.toSorted()
  })

/** One link each way. */
const isPair = (links: ReadonlyArray<string>): boolean =>
  links.map((link) => link.split(" ")[0]).join(" ") === "from to"

/** The links of a node to and from a server: direction, and when they were opened. */
const ownLinksOf = (bus: Bus, { id }: Server) =>
  Effect.map(bus.links, (links) => {
    const own = links.filter(({ node }) => node === id)
    return own.map(({ ageMs, direction }) => ({ direction, openedAt: performance.now() - ageMs }))
  })

/** A new server as the replica of another one. */
export const replicaOf = Effect.fnUntraced(function* (primary: Server) {
  const isTapped = primary.tap !== undefined
  const replica = yield* server({ kind: primary.kind, timeoutMs: nodeTimeoutMs, isTapped })
  yield* replica.ask("cluster", "meet", "127.0.0.1", `${primary.port}`, `${primary.busPort}`)
  const replicate = replica.ask("cluster", "replicate", primary.id)
  yield* until(Effect.map(replicate, (answer) => answer.startsWith("OK")))
  const state = replica.ask("role")
  yield* until(Effect.map(state, (text) => /slave[^]*connected/.test(text)))
  return replica
})

/** What is compared at the end of a test with how it was at the join. */
const noteLinks = (servers: ReadonlyArray<Server>, bus: Bus) =>
  Effect.forEach(servers, (server) =>
    Effect.all({ server: linksOf(server, bus), own: ownLinksOf(bus, server) })
  )

type Noted = Effect.Success<ReturnType<typeof noteLinks>>

const assertSame = (server: Server, now: Noted[number], before: Noted[number]) => {
  assert.deepStrictEqual(now.server, before.server, `links of ${server.port} were made again`)
  const openedAt = (links: Noted[number]["own"], direction: string) =>
    links.find((link) => link.direction === direction)!.openedAt
  for (const { direction } of before.own) {
    // Reading two clocks takes a while; dialling again would take longer than a tick of the node.
    const moved = openedAt(now.own, direction) - openedAt(before.own, direction)
    assert.isBelow(Math.abs(moved), 90, `a link ${direction} ${server.port} was made again`)
  }
}

/** Whether nothing but the expected has happened since the join. */
const assertSteady = (
  { bus, servers }: Live,
  joinedServers: ReadonlyArray<Server>,
  before: Noted,
  { framesSkipped = 0, hadStranger = false, renewed = [] }: Losses
) =>
  Effect.gen(function* () {
    yield* joined(servers, bus)
    const now = yield* noteLinks(servers, bus)
    for (const [k, server] of servers.entries()) {
      assert.isTrue(isPair(now[k]!.server), now[k]!.server.join(", "))
      const own = now[k]!.own.map(({ direction }) => direction)
      assert.deepStrictEqual(own.toSorted(), ["from", "to"])
      const at = joinedServers.indexOf(server)
      if (at >= 0 && !renewed.includes(server)) assertSame(server, now[k]!, before[at]!)
    }
    const { counts } = yield* bus.health
    assert.strictEqual(counts.framesSkipped, framesSkipped)
    if (!hadStranger) assert.strictEqual(counts.framesDropped, 0)
    assert.strictEqual(counts.strangersRefused, 0)
    if (renewed.length > 0) return
    assert.strictEqual(counts.dials, servers.length)
    assert.strictEqual(counts.linksTimedOut, 0)
  })

/** Every server has forgotten the node: no link is left, and none is tried. */
const assertGone = ({ bus, servers }: Live) =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* bus.links, [])
    const { counts } = yield* bus.health
    yield* Effect.sleep(2 * nodeTimeoutMs)
    assert.strictEqual((yield* bus.health).counts.dials, counts.dials)
    for (const server of servers) assert.isUndefined(yield* lineOf(server, bus.id))
  })

/** G1, G2, G3: what holds for every frame of the node, in whatever a test does. */
const assertHarmless = ({ bus, frames }: Live): void => {
  for (const { from, message } of frames()) {
    if (from !== bus.id) continue
    assert.notStrictEqual(message._tag, "Fail")
    if (message.header !== undefined) {
      assert.strictEqual(message.header.currentEpoch, 0n)
      assert.strictEqual(message.header.configEpoch, 0n)
    }
    if (!("gossip" in message)) continue
    for (const { flags } of message.gossip) assert.strictEqual(flags & 0b1100, 0)
    for (const { _tag } of message.extensions) assert.strictEqual(_tag, "ShardId")
  }
}

/** A node in the Scope of the caller. */
export const member = (settings: Settings = {}) =>
  Effect.gen(function* () {
    const layer = BusNode.layer({ nodeTimeoutMs, ...settings })
    return yield* Effect.provide(BusNode, yield* Layer.build(layer))
  })

/** Starts a node in the cluster, by a MEET of either side, and waits until it is connected. */
const begin = Effect.fnUntraced(function* (
  servers: ReadonlyArray<Server>,
  { metBy = "node", ...settings }: Options
) {
  const [first] = servers
  const meet = metBy === "node" ? [`127.0.0.1:${first!.busPort}`] : []
  const bus = yield* member({ meet, ...settings })
  const port = bus.address.split(":")[1]!
  // The client port is not looked at.
  if (metBy === "server") yield* first!.ask("cluster", "meet", "127.0.0.1", "7", port)
  yield* joined(servers, bus)
  return bus
})

/** Records what servers say to the node, too, whichever side has connected. */
const tapNode = Effect.gen(function* () {
  const port = yield* freePort
  const tap = yield* tapped(port)
  return { tap, settings: { listen: { port }, announce: { ip: "127.0.0.1", port: tap.port } } }
})

const use = <E>(
  options: Options,
  test: (live: Live) => Effect.Effect<Losses | void, E, IoPool | Journal | Scope.Scope>
) =>
  Effect.gen(function* () {
    const { isTapped = false, kind, tls } = options
    const timeoutMs = options.nodeTimeoutMs ?? nodeTimeoutMs
    const servers = [...(yield* cluster(3, { kind, timeoutMs, tls: tls !== undefined, isTapped }))]
    const own = isTapped ? yield* tapNode : undefined
    const context = yield* Effect.context<IoPool | Journal | Scope.Scope>()
    const scopeOfTest = yield* Effect.scope
    let scope = yield* Scope.fork(scopeOfTest)
    const start = (given: Options) =>
      Scope.provide(begin(servers, { ...own?.settings, ...given }), scope)
    const frames = () => [
      ...servers.flatMap(({ tap }) => tap?.frames ?? []),
      ...(own?.tap.frames ?? [])
    ]
    let joinedServers = [...servers]
    const live: Live = {
      kind,
      servers,
      bus: yield* start(options),
      frames,
      restart: (settings = {}, meanwhile = Effect.void) =>
        Effect.gen(function* () {
          yield* Scope.close(scope, Exit.void)
          yield* meanwhile
          scope = yield* Scope.fork(scopeOfTest)
          live.bus = yield* start({ kind, meet: [], ...settings })
          joinedServers = [...servers]
          before = yield* noteLinks(joinedServers, live.bus)
        }).pipe(Effect.orDie, Effect.provide(context))
    }
    let before = yield* noteLinks(joinedServers, live.bus)
    const losses = (yield* test(live)) ?? {}
    yield* losses.isRemoved === true
      ? assertGone(live)
      : assertSteady(live, joinedServers, before, losses)
    assertHarmless(live)
    // G3: leaving is silence. Each server still runs, and is still in its cluster.
    yield* Scope.close(scope, Exit.void)
    for (const { ask, id } of servers) assert.include(yield* ask("cluster", "nodes"), id)
  })

/**
 * Runs a test with a node that is connected to three servers. Afterwards nothing but the losses
 * that it returns has been lost, no job is out, and no descriptor is left.
 */
export const live = <E>(
  options: Options,
  test: (live: Live) => Effect.Effect<Losses | void, E, IoPool | Journal | Scope.Scope>
) =>
  Effect.gen(function* () {
    const before = descriptors()
    yield* Effect.gen(function* () {
      const pool = yield* IoPool
      yield* Effect.scoped(use(options, test))
      yield* until(Effect.map(pool.stats, ({ jobsOut, lanes }) => jobsOut === 0 && lanes === 0))
    }).pipe(Effect.provide([IoPool.layer({ workers: 1, closeWithinMs: 200 }), Journal.layerMemory]))
    yield* until(Effect.sync(() => descriptors() <= before))
  })
