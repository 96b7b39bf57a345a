/**
 * Goal: a card whose device refuses one of its port's GIDs towards a peer uses another one, says so
 * to the peer, stops after a few, and names them all (R22). The likeliest is tried first, and a
 * GID that changes ends what used it, and nothing else.
 * Method: two hosts, or one and a scripted peer, on a simulated fabric whose ports have several
 * GIDs, some of which are refused; the choice itself as a table.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { In, State } from "../../../src/actors/endpoint/EndpointState.ts"
import { inOrder } from "../../../src/actors/rdma/internal/gidSelection.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import type { GidEntry } from "../../../src/native/verbs/Device.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import { half, no, scene, type Scene } from "./scriptedPeer.ts"
import { card, failureOf, onHost, pathOf } from "./simHosts.ts"

const hour = 3_600_000

/** The device of a host refuses these of its GIDs. */
const refuse = (fabric: SimFabric, node: string, ...indices: ReadonlyArray<number>) => {
  for (const index of indices) {
    fabric.strike({ _tag: "GidRefusal", node, index, forMillis: hour })
  }
}

const ready = (state: State): In<"Ready"> => {
  if (state._tag !== "Ready") assert.fail(`it is in ${state._tag}`)
  return state
}

const gidsOf = ({ host }: Scene) =>
  Effect.map(host.nic.device.port(), ({ gids }) => gids.map(({ gid }) => gid))

const play = (
  name: string,
  acts: (scene: Scene) => Effect.Effect<void, unknown>,
  how: Parameters<typeof scene>[2] = { gids: 3 }
) => it.sim(name, { seeds: 3 }, () => scene(acts, {}, how))

describe("R22 a refused GID", () => {
  for (const refusing of ["a", "b"]) {
    it.sim(`of ${refusing} gives way to another one that both sides know`, { seeds: 5 }, () =>
      Effect.gen(function* () {
        yield* Faults.heal
        const fabric = yield* SimFabric.make()
        const network = new SimHandshakes()
        const on = (host: string) =>
          card(network, host).pipe(Effect.provide(onHost(fabric, network, host, 3)))
        const [a, b] = [yield* on("a"), yield* on("b")]
        refuse(fabric, refusing, 0)
        const link = yield* a.store.open(pathOf("b"))
        const back = yield* b.store.open(pathOf("a"))
        assert.isTrue(link.isOpen && back.isOpen)
        const [left, right] = [
          ready(yield* a.store.stateOf(pathOf("b"))),
          ready(yield* b.store.stateOf(pathOf("a")))
        ]
        assert.deepStrictEqual([left.own, right.own], [right.peer.half, left.peer.half])
        const { gids } = yield* (refusing === "a" ? a : b).nic.device.port()
        assert.strictEqual((refusing === "a" ? left : right).own.gid, gids[1]!.gid)
        assert.strictEqual(fabric.resources().queuePairs, 4)
        assert.strictEqual(fabric.counters.earlyPosts, 0)
      })
    )
  }

  play("is offered once: the next offer has the next GID, of a new generation", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      const gids = yield* gidsOf(scene)
      refuse(fabric, "a", 0, 1)
      let count = 0
      peer.answer = (offer) =>
        Effect.succeed(peer.offer(half(1, `aaaaaaaa.${++count}`), offer.half.epoch))
      const link = yield* host.store.open(peer.path)
      assert.deepStrictEqual(
        peer.offers.map(({ half: { gid } }) => gid),
        gids
      )
      assert.strictEqual(new Set(peer.offers.map(({ half: { epoch } }) => epoch)).size, 3)
      assert.strictEqual(new Set(peer.offers.flatMap(({ half }) => half.queuePairs)).size, 6)
      // The peer hears of readiness once, for the half that is used.
      assert.deepStrictEqual(
        peer.acks.map(({ half: { epoch } }) => epoch),
        [link.epoch]
      )
      assert.strictEqual(fabric.resources("a").queuePairs, 2)
      // What was refused is not tried again with this peer.
      yield* host.store.retire(link, "broken", "test")
      peer.offers.length = 0
      yield* host.store.open(peer.path)
      assert.deepStrictEqual(
        peer.offers.map(({ half: { gid } }) => gid),
        gids.slice(2)
      )
    })
  )

  play("is not answered: one call gets the GID and the queue pairs that are used", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer, state } = scene
      const gids = yield* gidsOf(scene)
      refuse(fabric, "a", 0)
      const offer = peer.offer(half(2001))
      const answer = yield* host.store.takeOffer(offer)
      assert.strictEqual(answer.half.gid, gids[1])
      const waiting = yield* state
      assert.strictEqual(waiting._tag, "AwaitingReadyAck")
      assert.deepStrictEqual((waiting as In<"AwaitingReadyAck">).own, answer.half)
      assert.deepStrictEqual((waiting as In<"AwaitingReadyAck">).peer, offer)
      assert.deepStrictEqual(yield* host.store.takeOffer(offer), answer)
      yield* host.store.takeAcknowledgement(peer.ack(offer.half))
      assert.strictEqual((yield* state)._tag, "Ready")
      assert.deepStrictEqual(peer.offers, [])
      assert.strictEqual(fabric.resources("a").queuePairs, 2)
    })
  )

  play(
    "has two successors at most, which the error names, and then the first one's turn comes again",
    (scene) =>
      Effect.gen(function* () {
        const { fabric, host, peer } = scene
        const gids = yield* gidsOf(scene)
        refuse(fabric, "a", 0, 1, 2)
        peer.answering(half(1, "aaaaaaaa.1"))
        const failure = yield* failureOf(host.store.open(peer.path))
        assert.deepInclude(failure, { local: "a@sim0", peer: peer.path })
        assert.strictEqual(failure.reason._tag, "Local")
        const tried = gids.slice(0, 3)
        assert.include(failure.message, `GIDs tried: ${tried.map(Gid.toAddress).join(", ")}`)
        assert.notInclude(failure.message, Gid.toAddress(gids[3]!))
        assert.deepStrictEqual(
          peer.offers.map(({ half: { gid } }) => gid),
          tried
        )
        yield* Effect.sleep("1 second")
        assert.strictEqual(fabric.resources("a").queuePairs, 0)
        fabric.heal()
        yield* host.store.open(peer.path)
        assert.strictEqual(peer.offers.at(-1)!.half.gid, gids[0])
      }),
    { gids: 5 }
  )

  play(
    "is told to who has called, if there is no other one",
    (scene) =>
      Effect.gen(function* () {
        const { fabric, host, peer, state } = scene
        const gids = yield* gidsOf(scene)
        refuse(fabric, "a", 0, 1)
        const refused = yield* Effect.flip(host.store.takeOffer(peer.offer(half(1))))
        assert.strictEqual(refused.reason, "failed")
        // These are all: none that the port does not have is tried after them.
        const tried = `GIDs tried: ${gids.map(Gid.toAddress).join(", ")}`
        assert.strictEqual(refused.text.slice(-tried.length), tried)
        assert.strictEqual((yield* state)._tag, "Idle")
      }),
    { gids: 2 }
  )

  play(
    "that somebody has chosen has no successor",
    (scene) =>
      Effect.gen(function* () {
        const { fabric, host, peer } = scene
        const gids = yield* gidsOf(scene)
        refuse(fabric, "a", 1)
        peer.answering(half(1, "aaaaaaaa.1"))
        const failure = yield* Effect.flip(host.store.open(peer.path))
        assert.include(failure.message, `GIDs tried: ${Gid.toAddress(gids[1]!)}`)
        const refused = yield* Effect.flip(host.store.takeOffer(peer.offer(half(1))))
        assert.strictEqual(refused.reason, "failed")
        assert.strictEqual(peer.offers.length, 1)
      }),
    { gids: 3, gidIndex: 1 }
  )

  play("of a half that the peer knows is offered anew, although it has offered too", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      const gids = yield* gidsOf(scene)
      refuse(fabric, "a", 0)
      peer.answer = () => Effect.andThen(Effect.sleep("1 second"), Effect.fail(no("busy")))
      const opening = yield* Effect.forkChild(host.store.open(peer.path))
      yield* Effect.sleep("100 millis")
      peer.answering(half(3, "aaaaaaaa.2"))
      const refused = yield* Effect.flip(host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1"))))
      assert.strictEqual(refused.reason, "stale")
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
      assert.deepStrictEqual(
        peer.offers.map(({ half: { gid } }) => gid),
        gids.slice(0, 2)
      )
      // The late refusal of the first offer means nothing.
      yield* Effect.sleep("2 seconds")
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
    })
  )

  play("is remembered if an old peer takes no second offer", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      const gids = yield* gidsOf(scene)
      refuse(fabric, "a", 0)
      let count = 0
      peer.answer = ({ half: { epoch } }) =>
        ++count === 2 ? Effect.fail(no("other")) : Effect.succeed(peer.offer(half(1), epoch, false))
      const failure = yield* failureOf(host.store.open(peer.path))
      assert.strictEqual(failure.reason._tag, "Refused")
      assert.isTrue((yield* host.store.open(peer.path)).isOpen)
      assert.deepStrictEqual(
        peer.offers.map(({ half: { gid } }) => gid),
        [gids[0], gids[1], gids[1]]
      )
      assert.deepStrictEqual(peer.acks, [])
    })
  )

  play("of a card that talks to itself gives way as well", ({ fabric, host }) =>
    Effect.gen(function* () {
      refuse(fabric, "a", 0)
      const link = yield* host.store.open("a@sim0")
      assert.isTrue(link.isOpen)
      const { key, own, peer } = ready(yield* host.store.stateOf("a@sim0"))
      assert.strictEqual(key, "self")
      assert.deepStrictEqual(peer.half, own)
    })
  )
})

describe("R22 a GID that changes", () => {
  const changed = (scene: Scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      let count = 0
      peer.answer = (offer) =>
        Effect.succeed(peer.offer(half(1, `aaaaaaaa.${++count}`), offer.half.epoch))
      const link = yield* host.store.open(peer.path)
      fabric.strike({ _tag: "GidChange", node: "a" })
      yield* Effect.sleep("1 second")
      return link.isOpen
    })

  play("ends what used it", (scene) =>
    Effect.map(changed(scene), (isOpen) => assert.isFalse(isOpen))
  )

  play("leaves what uses another one of the port", (scene) =>
    Effect.suspend(() => {
      refuse(scene.fabric, "a", 0)
      return Effect.map(changed(scene), (isOpen) => assert.isTrue(isOpen))
    })
  )
})

describe("the GID that is tried first", () => {
  const entry = (index: number, address: string, on: string | undefined, more = {}): GidEntry => ({
    index,
    gid: Gid.fromAddress(address)!,
    type: "roce-2",
    interface: on,
    ...more
  })

  it("R22 is one that reaches far, on an interface, of a kind that peers speak", () => {
    const port = [
      entry(0, "::", "eth0"),
      entry(1, "192.0.2.1", "eth0", { type: "roce-1" }),
      entry(2, "fe80::1", undefined),
      entry(3, "100.100.0.1", undefined),
      entry(4, "fe80::2", "eth0"),
      entry(5, "192.0.2.7", "docker0"),
      entry(6, "172.31.0.1", "eth0"),
      entry(7, "10.1.0.1", "eth0"),
      entry(8, "2001:db8::1", undefined),
      entry(9, "172.32.0.1", "eth0"),
      entry(10, "100.63.0.1", "eth0")
    ]
    const order = inOrder(port).map(({ index }) => index)
    assert.deepStrictEqual(order, [9, 10, 8, 6, 7, 4, 5, 3, 2])
  })

  it("R22 is the operating system's first where connections are ordinary TCP", () => {
    const port = [
      entry(1, "192.0.2.1", "eth0", { type: "iwarp" }),
      entry(0, "10.0.0.1", "eth0", { type: "iwarp" })
    ]
    assert.deepStrictEqual(
      inOrder(port).map(({ index }) => index),
      [0, 1]
    )
  })
})
