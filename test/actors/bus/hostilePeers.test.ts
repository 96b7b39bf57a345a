/**
 * Goal: a peer that misbehaves costs a node its own links at most: other peers notice nothing, and
 * the node takes a bounded amount of memory and sockets.
 * Method: the scripts that are published for tests of other programs, on sockets of loopback,
 * beside a peer in order whose links must be as before at the end of each test. The malformed
 * frames are those that five releases of servers were tried with.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { BusNode, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { encode } from "../../../src/schema/bus/MessageCodec.ts"
import * as BusPeer from "../../../src/testing/BusPeer.ts"
import { bytesOf, hexOf, malformed as vectors } from "../../schema/bus/vectors.ts"
import { stateOf } from "./live.ts"
import { until } from "./servers.ts"

const nodeTimeoutMs = 4_000

/** What servers did with each case; `alive` is no case but their answer at the end. */
const observed: Readonly<Record<string, Readonly<Record<string, unknown>>>> = JSON.parse(
  readFileSync(new URL("../../vectors/bus-malformed-more-servers.json", import.meta.url), "utf8")
)
const namesOf = (cases: object) => Object.keys(cases).filter((name) => name !== "alive")

/** This one would make a server forget nodes: it is sent to nodes of this library alone. */
const forgotten: BusPeer.Malformed = {
  name: "EXTRA FORGOTTEN ext of 16 (too short)",
  isClosed: false,
  pongs: 0,
  pieces: (ping) => {
    const extension = Buffer.from("0000001000020000aaaaaaaaaaaaaaaa", "hex")
    const bytes = Buffer.concat([ping, extension])
    bytes.writeUInt32BE(bytes.length, 4)
    bytes.writeUInt16BE(1, 2214)
    return [bytes]
  }
}
const cases = [...BusPeer.malformed, forgotten]

const node = (settings: Settings = {}) =>
  Effect.gen(function* () {
    const layer = BusNode.layerEphemeral({ nodeTimeoutMs, admit: "anyone", ...settings })
    const pool = IoPool.layer({ workers: 1, closeWithinMs: 200 })
    const bus = yield* Effect.provide(BusNode, yield* Layer.build(Layer.provide(layer, pool)))
    return { bus, to: { host: "127.0.0.1", port: Number(bus.address.split(":")[1]) } }
  })

const joins = (peer: BusPeer.ScriptedPeer) => until(Effect.sync(() => peer.hasJoined))

/** A node and a peer in order, whose links must be the same at the end. */
const beside = <E, R>(
  test: (world: {
    readonly bus: BusNode["Service"]
    readonly to: BusPeer.PeerOptions["to"]
    readonly good: BusPeer.ScriptedPeer
  }) => Effect.Effect<void, E, R>,
  settings: Settings = {}
) =>
  Effect.gen(function* () {
    const { bus, to } = yield* node(settings)
    const lost: Array<BusPeer.PeerEvent> = []
    const onEvent = (event: BusPeer.PeerEvent) => {
      if (event._tag === "Closed" || event._tag === "Failed") lost.push(event)
    }
    const good = yield* BusPeer.start("member", { to, onEvent })
    yield* joins(good)
    yield* until(Effect.map(stateOf(bus, good.id), (state) => state === "connected"))
    yield* test({ bus, to, good })
    assert.deepStrictEqual(lost, [], "the peer in order lost a link")
    assert.strictEqual(good.links.size, 2)
    assert.strictEqual(yield* stateOf(bus, good.id), "connected")
  }).pipe(Effect.scoped)

const plainPing = (peer: BusPeer.ScriptedPeer): Uint8Array => encode(peer.heartbeat("Ping"))

const pongsOf = (link: BusPeer.PeerLink, count: number) =>
  until(Effect.sync(() => !link.socket.writable || link.count("Pong") >= count))

describe("malformed frames that are published", () => {
  it("are those that servers were tried with, byte for byte", () => {
    for (const [server, results] of Object.entries(observed)) {
      const names = cases.map(({ name }) => name)
      assert.sameMembers(names, namesOf(results), server)
    }
    const base = bytesOf(vectors.find(({ name }) => name === "valid PING")!.hex)
    for (const { hex, name } of vectors) {
      const { pieces } = cases.find((one) => one.name === name)!
      assert.strictEqual(hexOf(Buffer.concat(pieces(base))), hex, name)
    }
  })

  it("G3: make no server forget a node", () => {
    const ping = new Uint8Array(2_256)
    for (const { name, pieces } of BusPeer.malformed) {
      const bytes = Buffer.concat(pieces(ping))
      const type = bytes.length > 2_262 ? bytes.readUInt16BE(2_260) : 0
      const isExtended = bytes.length > 2_256 && bytes.readUInt16BE(2_214) > 0
      assert.isFalse(isExtended && type === 2, name)
    }
  })
})

/** It greets nobody and asks nobody, so that each PONG answers a PING of a test. */
const quiet: BusPeer.Script = { description: "", greet: () => {}, sendsNoPings: true }

/** A link on which, if its sender is to be known, one PING was answered. */
const open = Effect.fnUntraced(function* (peer: BusPeer.ScriptedPeer, isKnown: boolean) {
  const link = peer.dial()
  yield* until(Effect.sync(() => link.isOpen))
  link.socket.setNoDelay(true)
  if (isKnown) link.write(plainPing(peer))
  yield* pongsOf(link, isKnown ? 1 : 0)
  return link
})

/** Sends a case on a link of its own, and checks what becomes of the link. */
const attempt = Effect.fnUntraced(function* (
  peer: BusPeer.ScriptedPeer,
  one: BusPeer.Malformed,
  isKnown: boolean
) {
  const link = yield* open(peer, isKnown)
  const before = link.count("Pong")
  const ping = plainPing(peer)
  for (const piece of one.pieces(ping)) link.write(piece)
  // The PONGs of the case come before those of these, of which the second shows that no more come.
  link.write(ping)
  link.write(ping)
  const isClosed = isKnown ? (one.isClosedLater ?? one.isClosed) : one.isClosed
  if (isClosed) {
    yield* until(Effect.sync(() => !peer.links.has(link)))
    assert.isAtMost(link.count("Pong") - before, 1, one.name)
    return
  }
  yield* until(
    Effect.sync(() => !peer.links.has(link) || link.count("Pong") - before >= one.pongs + 2)
  )
  assert.isTrue(peer.links.has(link), `the link was ended: ${one.name}`)
  assert.strictEqual(link.count("Pong") - before, one.pongs + 2, one.name)
  link.end()
  yield* until(Effect.sync(() => !peer.links.has(link)))
})

describe("malformed frames", () => {
  it.live.each([false, true])(
    "each end the link that they come on at most, if its sender is known: %s",
    (isKnown) =>
      beside(({ bus, to }) =>
        Effect.gen(function* () {
          const peer = new BusPeer.ScriptedPeer(quiet, { to })
          if (isKnown) {
            yield* Effect.promise(() => peer.start())
            yield* until(Effect.sync(() => peer.links.size > 0))
            const [first] = peer.links
            yield* until(Effect.sync(() => first!.isOpen))
            first!.send(peer.heartbeat("Meet"))
            yield* until(Effect.map(stateOf(bus, peer.id), (state) => state === "connected"))
          }
          const memory = process.memoryUsage().arrayBuffers
          for (const one of cases) yield* attempt(peer, one, isKnown)
          assert.isBelow(process.memoryUsage().arrayBuffers - memory, 64 * 1_048_576)
          assert.deepStrictEqual((yield* bus.health).suspected, [])
          peer.stop()
        })
      ),
    60_000
  )
})

describe("a peer that", () => {
  const withPeer = <E, R>(
    name: BusPeer.Name,
    test: (world: {
      readonly bus: BusNode["Service"]
      readonly good: BusPeer.ScriptedPeer
      readonly bad: BusPeer.ScriptedPeer
      readonly events: ReadonlyArray<BusPeer.PeerEvent>
    }) => Effect.Effect<void, E, R>,
    options: { readonly settings?: Settings; readonly as?: "good" } = {}
  ) =>
    beside(
      ({ bus, good, to }) =>
        Effect.gen(function* () {
          const events: Array<BusPeer.PeerEvent> = []
          const onEvent = (event: BusPeer.PeerEvent) => void events.push(event)
          const id = options.as === undefined ? {} : { id: good.id, host: "127.0.0.2" }
          const bad = yield* BusPeer.start(name, { to, onEvent, ...id })
          if (options.as === undefined) yield* joins(bad)
          yield* test({ bus, good, bad, events })
        }),
      options.settings
    )

  const closedByNode = (events: ReadonlyArray<BusPeer.PeerEvent>) =>
    events.filter((event) => event._tag === "Closed" && !event.byUs).length

  it.live("is slow gets no more than fits, keeps its links, and others get all (G20)", () =>
    withPeer("slow", ({ bad, bus, events, good }) =>
      Effect.gen(function* () {
        yield* until(Effect.map(bus.health, ({ connected }) => connected === 2))
        assert.isTrue([...bad.links].every(({ readRate }) => readRate === 1_024))
        const message = new Uint8Array(65_536)
        let sent = 0
        const isFull = Effect.gen(function* () {
          const { full, taken } = yield* bus.publish("news", message)
          sent++
          assert.strictEqual(taken + full, 2)
          return full > 0
        })
        yield* until(isFull)
        const received = () => [...good.links].reduce((sum, link) => sum + link.count("Publish"), 0)
        yield* until(Effect.sync(() => received() === sent))
        assert.strictEqual(closedByNode(events), 0)
      })
    )
  )

  it.live("is mute is suspected, and dialled again at a pace", () =>
    withPeer(
      "mute",
      ({ bad, bus }) =>
        Effect.gen(function* () {
          yield* until(Effect.map(bus.health, ({ suspected }) => suspected.includes(bad.id)))
          assert.isAtMost(bad.links.size, 3)
        }),
      { settings: { nodeTimeoutMs: 2_000 } }
    )
  )

  it.live("sends garbage loses the link that it comes on, after the frames before it", () =>
    withPeer("garbage", ({ events }) => until(Effect.sync(() => closedByNode(events) >= 2)))
  )

  it.live("ends in the middle of a frame leaves nothing", () =>
    withPeer("cut", ({ bus, events }) =>
      Effect.gen(function* () {
        const ended = () => events.filter((event) => event._tag === "Closed" && event.byUs).length
        yield* until(Effect.sync(() => ended() >= 2))
        yield* until(Effect.map(bus.links, ({ length }) => length <= 4))
        assert.strictEqual((yield* bus.health).counts.framesDropped, 0)
      })
    )
  )

  it.live("closes its sending half keeps no link", () =>
    withPeer("half-open", ({ bus, events }) =>
      Effect.gen(function* () {
        yield* until(Effect.sync(() => events.filter(({ _tag }) => _tag === "Closed").length >= 2))
        yield* until(Effect.map(bus.links, ({ length }) => length <= 5))
      })
    )
  )

  it.live("speaks under another's id from elsewhere moves nothing, and is not heard (G12)", () =>
    withPeer(
      "impostor",
      ({ bad, bus, good }) =>
        Effect.gen(function* () {
          const heard: Array<string> = []
          const hearing = Stream.runForEach(bus.publications, ({ _tag }) =>
            Effect.sync(() => void heard.push(_tag))
          )
          const fiber = yield* Effect.forkScoped(hearing)
          const links = yield* bus.links
          yield* until(Effect.sync(() => bad.links.size > 0))
          yield* Effect.sleep(nodeTimeoutMs / 2)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(heard, [])
          const [view] = yield* Stream.runCollect(Stream.take(bus.members, 1))
          assert.deepStrictEqual(
            view!.members.map(({ busPort, id }) => [id, busPort]),
            [[good.id, good.port]]
          )
          assert.isAtLeast(links.length, 2)
        }),
      { as: "good" }
    )
  )

  it.live(
    "names ten thousand strangers makes a node dial no more than it dials at once (G19)",
    () =>
      withPeer("gossip-flood", ({ bad, bus }) =>
        Effect.gen(function* () {
          yield* until(Effect.map(bus.health, ({ counts }) => counts.gossipIgnored > 9_000))
          const { counts, connecting } = yield* bus.health
          assert.isAtMost(connecting, 16)
          assert.isAtMost(counts.dials, 2 + 16 * 3)
          assert.isTrue([...bad.links].some(({ isOpen }) => isOpen))
        })
      )
  )

  it.live("sends each kind of malformed frame costs its own links alone", () =>
    withPeer("malformed", ({ bad, bus, events }) =>
      Effect.gen(function* () {
        // The first cases are in order.
        yield* until(Effect.sync(() => closedByNode(events) >= 2))
        assert.isAtMost((yield* bus.links).length, 5)
        assert.strictEqual(yield* stateOf(bus, bad.id), "connected")
      })
    )
  )
})
