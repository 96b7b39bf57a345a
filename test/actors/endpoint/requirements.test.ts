/**
 * Goal: the requirements that real systems have taught, one by one, for an endpoint and its
 * handshake. Method: an endpoint on the simulated fabric and a peer that does what the test says,
 * on virtual time.
 */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { In, State } from "../../../src/actors/endpoint/EndpointState.ts"
import { Rejected } from "../../../src/actors/endpoint/Handshake.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import { it } from "../../../src/testing/vitest.ts"
import { failureOf } from "./simHosts.ts"
import { half, no, scene, type Scene } from "./scriptedPeer.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true })

const play = (name: string, acts: (scene: Scene) => Effect.Effect<void, unknown>) =>
  it.sim(name, { seeds: 3 }, () => scene(acts))

const known = (state: State): In<"AwaitingReadyAck" | "Ready"> => {
  if (state._tag !== "AwaitingReadyAck" && state._tag !== "Ready")
    assert.fail(`it is in ${state._tag}`)
  return state
}

describe("the gate", () => {
  play("R1 stays closed on the passive side until the acknowledgement", ({ host, peer, state }) =>
    Effect.gen(function* () {
      const answer = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("5 seconds")
      assert.isUndefined(opening.pollUnsafe())
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      const ack = peer.ack(half(1, "aaaaaaaa.1"), answer.half.epoch)
      yield* host.store.takeAcknowledgement(ack)
      const link = yield* Fiber.join(opening)
      assert.isTrue(link.isOpen)
      // What it said meanwhile was the same half again.
      assert.isTrue(peer.offers.every((offer) => offer.half.epoch === answer.half.epoch))
      // Again is harmless.
      yield* host.store.takeAcknowledgement(ack)
      assert.isTrue(link.isOpen)
    })
  )

  play("R1 stays closed on the active side until its acknowledgement is taken", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1, "aaaaaaaa.1"))
      peer.acknowledged = () => Effect.sleep("3 seconds")
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("2 seconds")
      assert.isUndefined(opening.pollUnsafe())
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
    })
  )

  play("is not there for a peer without one, which is never sent an acknowledgement", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      peer.answering(half(1), false)
      assert.isTrue((yield* host.store.open(peer.path)).isOpen)
      yield* Effect.sleep("20 seconds")
      assert.deepStrictEqual(peer.acks, [])
      // Also as the passive side, and for one that was taken for a peer with a gate before.
      yield* host.store.takeOffer(peer.offer(half(5)))
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      yield* host.store.takeOffer(peer.offer(half(5), undefined, false))
      assert.strictEqual((yield* state)._tag, "Ready")
    })
  )

  for (const retireAt of [10, 20, 30]) {
    for (const openAt of [retireAt, retireAt + 1, 45]) {
      play(`R2 is not opened by a late answer (retired ${retireAt}, opened ${openAt})`, (scene) =>
        Effect.gen(function* () {
          const { host, peer, state } = scene
          peer.answering(half(1, "aaaaaaaa.1"))
          peer.acknowledged = () => Effect.sleep("40 millis")
          const first = yield* fork(Effect.flip(host.store.open(peer.path)))
          yield* Effect.sleep(retireAt)
          const { epoch } = known(yield* state)
          const old = { epoch, peer: peer.path } as never
          yield* host.store.retire(old, "retired", "test")
          assert.strictEqual((yield* Fiber.join(first))._tag, "EndpointError")
          peer.answering(half(3, "aaaaaaaa.2"))
          peer.acknowledged = () => Effect.never
          yield* Effect.sleep(openAt - retireAt)
          const second = yield* fork(Effect.flip(host.store.open(peer.path)))
          yield* Effect.sleep("5 seconds")
          assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
          assert.strictEqual((yield* Fiber.join(second))._tag, "EndpointError")
        })
      )
    }
  }

  play("R3 H1 an answer to an old offer configures no new queue pairs", ({ host, peer, state }) =>
    Effect.gen(function* () {
      peer.answer = (offer) =>
        Effect.delay(
          Effect.succeed(peer.offer(half(1, "aaaaaaaa.1"), offer.half.epoch)),
          "3 seconds"
        )
      const first = yield* fork(Effect.flip(host.store.open(peer.path)))
      yield* Effect.sleep("1 second")
      const calling = yield* state
      assert.strictEqual(calling._tag, "Offering")
      yield* host.store.retire(
        { epoch: (calling as In<"Offering">).epoch, peer: peer.path } as never,
        "retired",
        "test"
      )
      yield* Fiber.join(first)
      peer.answering(half(7, "aaaaaaaa.2"))
      yield* host.store.open(peer.path)
      yield* Effect.sleep("5 seconds")
      assert.deepStrictEqual(known(yield* state).peer.half.queuePairs, [7, 8])
      assert.strictEqual((yield* state)._tag, "Ready")
    })
  )

  play("H4 is not opened by an acknowledgement of earlier queue pairs", ({ host, peer, state }) =>
    Effect.gen(function* () {
      const { store } = host
      const offer = peer.offer(half(1, "aaaaaaaa.1"))
      const first = yield* store.takeOffer(offer)
      const late = peer.ack(offer.half, first.half.epoch)
      yield* store.retire({ epoch: first.half.epoch, peer: peer.path } as never, "retired", "test")
      yield* store.takeOffer(peer.offer(half(1, "aaaaaaaa.2")))
      const refused = yield* Effect.flip(store.takeAcknowledgement(late))
      assert.strictEqual(refused.reason, "stale")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      // Nor by one for the right queue pairs that names another generation of this side.
      const forged = peer.ack(half(1, "aaaaaaaa.2"), first.half.epoch)
      assert.strictEqual((yield* Effect.flip(store.takeAcknowledgement(forged))).reason, "stale")
      // Nor by one that names both generations, and other queue pairs.
      const { epoch } = known(yield* state)
      const others = peer.ack(half(5, "aaaaaaaa.2"), epoch)
      assert.strictEqual((yield* Effect.flip(store.takeAcknowledgement(others))).reason, "stale")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
    })
  )

  play("H9 has a deadline that runs without any work", ({ host, peer, state }) =>
    Effect.gen(function* () {
      yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("9.9 seconds")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      yield* Effect.sleep("0.2 seconds")
      assert.strictEqual((yield* state)._tag, "Idle")
    })
  )

  play("H15 a lost acknowledgement costs less than a second", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1, "aaaaaaaa.1"))
      let lost = 2
      peer.acknowledged = () => (lost-- > 0 ? Effect.die("the connection broke") : Effect.void)
      const link = yield* host.store.open(peer.path).pipe(Effect.timeout("1 second"))
      assert.isTrue(link.isOpen)
      assert.strictEqual(peer.acks.length, 3)
    })
  )
})

describe("T9: a silent peer", () => {
  play("whose answer to an acknowledgement was lost is told again after a second", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      peer.answering(half(1, "aaaaaaaa.1"))
      let lost = 2
      peer.acknowledged = () => (lost-- > 0 ? Effect.never : Effect.void)
      const link = yield* host.store.open(peer.path).pipe(Effect.timeout("3.1 seconds"))
      assert.isTrue(link.isOpen)
      assert.strictEqual(peer.acks.length, 3)
    })
  )

  /** It offers, is lost, and begins again with other queue pairs. */
  const restarted = ({ host, peer }: Scene) =>
    Effect.gen(function* () {
      yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      peer.answering(half(3, "bbbbbbbb.1"))
    })

  play("that died after its offer does not hold an opening of this side", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      yield* restarted(scene)
      const link = yield* host.store.open(peer.path).pipe(Effect.timeout("100 millis"))
      assert.isTrue(link.isOpen)
      assert.strictEqual(known(yield* state).peer.half.epoch, "bbbbbbbb.1")
      assert.strictEqual(peer.acks.at(-1)!.half.epoch, link.epoch)
    })
  )

  play("that died after its offer does not hold an opening that joined it", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      fabric.strike({ _tag: "SlowModify", node: "a", forMillis: 400, millis: 100 })
      yield* fork(host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1"))))
      yield* Effect.sleep("10 millis")
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("10 millis")
      assert.deepStrictEqual(peer.offers, [])
      peer.answering(half(3, "bbbbbbbb.1"))
      const link = yield* Fiber.join(opening).pipe(Effect.timeout("1.2 seconds"))
      assert.isTrue(link.isOpen)
    })
  )

  play("that is back later is found within a second", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      peer.answer = () => Effect.die("the connection broke")
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("5 seconds")
      peer.answering(half(3, "bbbbbbbb.1"))
      const link = yield* Fiber.join(opening).pipe(Effect.timeout("1.1 seconds"))
      assert.isTrue(link.isOpen)
    })
  )
})

describe("R35: the ready deadline", () => {
  play("does not run while the acknowledgement waits at a busy peer", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1, "aaaaaaaa.1"))
      peer.acknowledged = () => Effect.sleep("30 seconds")
      const link = yield* host.store.open(peer.path)
      assert.isTrue(link.isOpen)
    })
  )

  play("does not run while the offer waits at a peer that has offered, too", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      peer.answer = (offer) =>
        Effect.delay(
          Effect.succeed(peer.offer(half(1, "aaaaaaaa.1"), offer.half.epoch)),
          "30 seconds"
        )
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("50 millis")
      yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("20 seconds")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
    })
  )

  play("begins when an acknowledgement has failed", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1, "aaaaaaaa.1"))
      peer.acknowledged = () => Effect.die("the connection broke")
      const before = yield* Clock.currentTimeMillis
      const failure = yield* failureOf(host.store.open(peer.path))
      assert.deepInclude(failure.reason, {
        _tag: "Expired",
        detail: "AwaitingReadyAck for 10000 ms"
      })
      assert.closeTo((yield* Clock.currentTimeMillis) - before, 10_000, 200)
    })
  )

  play("begins when the own call has failed", ({ host, peer, state }) =>
    Effect.gen(function* () {
      peer.answer = () => Effect.andThen(Effect.sleep("30 seconds"), Effect.fail(no("busy")))
      const opening = yield* fork(failureOf(host.store.open(peer.path)))
      yield* Effect.sleep("50 millis")
      yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("29 seconds")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      peer.answer = () => Effect.die("the connection broke")
      yield* Effect.sleep("10 seconds")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      yield* Effect.sleep("2 seconds")
      assert.strictEqual((yield* Fiber.join(opening)).reason._tag, "Expired")
      assert.strictEqual((yield* state)._tag, "Idle")
    })
  )
})

describe("R35: a ready deadline from before", () => {
  play("does not count once a call has begun and failed since", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answer = () => Effect.andThen(Effect.sleep("9.2 seconds"), Effect.die("it broke"))
      yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("50 millis")
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("9.5 seconds")
      peer.answering(half(1, "aaaaaaaa.1"))
      const link = yield* Fiber.join(opening).pipe(Effect.timeout("2 seconds"))
      assert.isTrue(link.isOpen)
    })
  )

  play("does not begin while another acknowledgement is under way", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1, "aaaaaaaa.1"))
      let calls = 0
      peer.acknowledged = () =>
        calls++ === 0 ? Effect.sleep("30 seconds") : Effect.die("the connection broke")
      assert.isTrue((yield* host.store.open(peer.path)).isOpen)
      assert.isAbove(calls, 1)
    })
  )
})

describe("the opening deadline", () => {
  it.sim("H9: ends an opening whose call hangs", { seeds: 3 }, () =>
    scene(
      ({ host, peer, state }) =>
        Effect.gen(function* () {
          peer.answer = () => Effect.never
          const failure = yield* failureOf(host.store.open(peer.path)).pipe(
            Effect.timeout("5.1 seconds")
          )
          assert.deepInclude(failure.reason, { _tag: "Expired", detail: "Offering for 5000 ms" })
          assert.strictEqual((yield* state)._tag, "Idle")
        }),
      { openWithinMs: 5_000 }
    )
  )

  play("H9: ends an opening whose queue pairs are not made", ({ fabric, host, peer }) =>
    Effect.gen(function* () {
      fabric.strike({ _tag: "SlowModify", node: "a", forMillis: 3_600_000, millis: 3_600_000 })
      const opening = failureOf(host.store.open(peer.path))
      const { reason } = yield* Effect.timeout(opening, "181 seconds")
      assert.deepInclude(reason, { _tag: "Expired", detail: "CreatingQueuePairs for 180000 ms" })
    })
  )
})

describe("crossed openings", () => {
  play("R5: the peer's offer counts although the own call fails while the half comes up", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer, state } = scene
      peer.answer = () => Effect.andThen(Effect.sleep("100 millis"), Effect.fail(no("busy")))
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("50 millis")
      fabric.strike({ _tag: "SlowModify", node: "a", forMillis: 1_000, millis: 100 })
      const taken = yield* fork(host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1"))))
      yield* Effect.sleep("100 millis")
      assert.strictEqual((yield* state)._tag, "Connecting")
      const answer = yield* Fiber.join(taken)
      yield* host.store.takeAcknowledgement(peer.ack(half(1, "aaaaaaaa.1"), answer.half.epoch))
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
    })
  )

  play("R4: an answer of a newer generation than the peer's offer begins another one", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      let count = 1
      peer.answer = (offer) =>
        Effect.delay(
          Effect.suspend(() =>
            Effect.succeed(peer.offer(half(3, `aaaaaaaa.${++count}`), offer.half.epoch))
          ),
          "100 millis"
        )
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("50 millis")
      const first = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
      const { own, peer: newest } = known(yield* state)
      assert.strictEqual(newest.half.epoch, "aaaaaaaa.3")
      assert.notDeepEqual(own.queuePairs, first.half.queuePairs)
    })
  )

  play("R5 the peer's offer counts although the own call failed", ({ host, peer, state }) =>
    Effect.gen(function* () {
      peer.answer = () => Effect.andThen(Effect.sleep("100 millis"), Effect.fail(no("busy")))
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("50 millis")
      const answer = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("100 millis")
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      yield* host.store.takeAcknowledgement(peer.ack(half(1, "aaaaaaaa.1"), answer.half.epoch))
      assert.isTrue((yield* Fiber.join(opening)).isOpen)
      assert.deepStrictEqual(peer.acks, [])
    })
  )

  play("H8 the peer's acknowledgement counts although the own one failed", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      peer.answer = (offer) =>
        Effect.delay(
          Effect.succeed(peer.offer(half(1, "aaaaaaaa.1"), offer.half.epoch)),
          "100 millis"
        )
      peer.acknowledged = () =>
        Effect.andThen(Effect.sleep("100 millis"), Effect.fail(no("unconnected")))
      const opening = yield* fork(host.store.open(peer.path))
      yield* Effect.sleep("50 millis")
      const answer = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("100 millis")
      assert.strictEqual(peer.acks.length, 1)
      yield* host.store.takeAcknowledgement(peer.ack(half(1, "aaaaaaaa.1"), answer.half.epoch))
      const link = yield* Fiber.join(opening)
      yield* Effect.sleep("1 second")
      assert.strictEqual((yield* state)._tag, "Ready")
      assert.isTrue(link.isOpen)
    })
  )
})

describe("a peer that begins again", () => {
  play("R7 is answered with new queue pairs within its one call", ({ host, peer, state }) =>
    Effect.gen(function* () {
      const first = yield* host.store.takeOffer(peer.offer(half(1)))
      const second = yield* host.store.takeOffer(peer.offer(half(3)))
      assert.notDeepEqual(second.half.queuePairs, first.half.queuePairs)
      assert.deepStrictEqual(known(yield* state).peer.half.queuePairs, [3, 4])
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
    })
  )

  play("R6 H3 is noticed although its queue pairs have the same numbers", ({ host, peer, state }) =>
    Effect.gen(function* () {
      const first = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      const same = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      assert.deepStrictEqual(same, first)
      const second = yield* host.store.takeOffer(peer.offer(half(1, "bbbbbbbb.1")))
      assert.notDeepEqual(second.half.queuePairs, first.half.queuePairs)
      // What the old instance still had under way comes too late.
      const old = peer.offer(half(1, "aaaaaaaa.2"))
      peer.instance = "bbbbbbbb"
      const late = yield* Effect.flip(host.store.takeOffer(old))
      assert.strictEqual(late.reason, "stale")
      assert.deepStrictEqual(known(yield* state).own.queuePairs, second.half.queuePairs)
    })
  )

  play("H3 is noticed after a while if it names no generations", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1))
      yield* host.store.open(peer.path)
      const first = yield* host.store.takeOffer(peer.offer(half(1)))
      assert.deepStrictEqual(first.half, peer.offers[0]!.half)
      yield* Effect.sleep("59 seconds")
      assert.deepStrictEqual(yield* host.store.takeOffer(peer.offer(half(1))), first)
      yield* Effect.sleep("2 seconds")
      const second = yield* host.store.takeOffer(peer.offer(half(1)))
      assert.notDeepEqual(second.half.queuePairs, first.half.queuePairs)
    })
  )

  play("R36: is noticed at once if it offers what it has acknowledged", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      const first = yield* host.store.takeOffer(peer.offer(half(1)))
      // Until it has acknowledged, the same offer may be one that was under way.
      assert.deepStrictEqual(yield* host.store.takeOffer(peer.offer(half(1))), first)
      yield* host.store.takeAcknowledgement(peer.ack(half(1)))
      const link = yield* host.store.open(peer.path)
      const second = yield* host.store.takeOffer(peer.offer(half(1)))
      assert.notDeepEqual(second.half.queuePairs, first.half.queuePairs)
      assert.isFalse(link.isOpen)
      assert.strictEqual((yield* state)._tag, "AwaitingReadyAck")
      yield* host.store.takeAcknowledgement(peer.ack(half(1)))
      assert.isTrue((yield* host.store.open(peer.path)).isOpen)
    })
  )

  play("R36: is noticed at once in a crossing, whichever acknowledgement came first", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      const crossing = peer.offer(half(1))
      peer.answer = (offer) =>
        Effect.as(
          Effect.ignore(host.store.takeOffer(crossing)),
          peer.offer(half(1), offer.half.epoch)
        )
      const link = yield* host.store.open(peer.path)
      assert.lengthOf(peer.acks, 1)
      yield* host.store.takeAcknowledgement(peer.ack(half(1)))
      assert.isTrue(link.isOpen)
      assert.deepStrictEqual(scene.links, [link])
      const second = yield* host.store.takeOffer(crossing)
      assert.isFalse(link.isOpen)
      assert.notDeepEqual(second.half.queuePairs, peer.offers[0]!.half.queuePairs)
    })
  )

  play("H2 gets an endpoint that works, also after the old one was retired", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering(half(1, "aaaaaaaa.1"))
      const old = yield* host.store.open(peer.path)
      yield* host.store.retire(old, "broken", "test")
      assert.isFalse(old.isOpen)
      const offer = peer.offer(half(3, "aaaaaaaa.2"))
      const answer = yield* host.store.takeOffer(offer)
      yield* host.store.takeAcknowledgement(peer.ack(offer.half, answer.half.epoch))
      const link = yield* host.store.open(peer.path)
      assert.isTrue(link.isOpen)
      assert.isFalse(old.isOpen)
      assert.isAbove(link.room, 0)
    })
  )
})

describe("R19 a farewell", () => {
  const ready = ({ host, peer }: Scene, epoch?: string) =>
    Effect.suspend(() => {
      peer.answering(half(1, epoch))
      return host.store.open(peer.path)
    })

  play("is said when a generation is retired here, without waiting for it", (scene) =>
    Effect.gen(function* () {
      const { host, peer, state } = scene
      const link = yield* ready(scene, "aaaaaaaa.1")
      peer.parted = Effect.never
      yield* host.store.retire(link, "retired", "test")
      assert.strictEqual((yield* state)._tag, "Idle")
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual(peer.farewells, [
        { from: "a@sim0", to: peer.path, epoch: link.epoch, knows: "aaaaaaaa.1" as Epoch }
      ])
      // The next generation does not wait for it either.
      assert.isTrue((yield* ready(scene, "aaaaaaaa.2")).isOpen)
      yield* Effect.sleep("20 seconds")
      assert.strictEqual(peer.farewells.length, 1)
    })
  )

  /** What was said of one generation, to a peer whose own is `aaaaaaaa.1`. */
  const saidOf = ({ peer }: Scene, epoch: Epoch) => [
    { from: "a@sim0", to: peer.path, epoch, knows: "aaaaaaaa.1" as Epoch }
  ]

  const breaks: Record<string, (scene: Scene, link: ReadyLink) => Effect.Effect<unknown>> = {
    "work on it failed": ({ host }, link) => host.store.retire(link, "broken", "test"),
    "its port failed": ({ fabric }) =>
      Effect.sync(() => fabric.strike({ _tag: "PortFlap", node: "a", forMillis: 1_000 })),
    "its GID changed": ({ fabric }) =>
      Effect.sync(() => fabric.strike({ _tag: "GidChange", node: "a" })),
    "its device went": ({ fabric }) =>
      Effect.sync(() => fabric.strike({ _tag: "DeviceRemoval", node: "a", forMillis: 1_000 })),
    "the store is closed in order": ({ end }) => end
  }
  for (const [why, strike] of Object.entries(breaks)) {
    play(`is said when ${why}`, (scene) =>
      Effect.gen(function* () {
        const link = yield* ready(scene, "aaaaaaaa.1")
        yield* Effect.sleep(10)
        yield* strike(scene, link)
        yield* Effect.sleep("1 second")
        assert.isFalse(link.isOpen)
        assert.deepStrictEqual(scene.peer.farewells, saidOf(scene, link.epoch))
      })
    )

    play(`is not said to a peer that names no generations, when ${why}`, (scene) =>
      Effect.gen(function* () {
        const link = yield* ready(scene)
        yield* Effect.sleep(10)
        yield* strike(scene, link)
        yield* Effect.sleep("10 seconds")
        assert.isFalse(link.isOpen)
        assert.deepStrictEqual(scene.peer.farewells, [])
      })
    )
  }

  play("is said to a peer that has taken an offer whose half cannot be brought up", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      peer.answering(half(1, "aaaaaaaa.1"))
      fabric.strike({ _tag: "QueuePairError", node: "a", step: "rts" })
      const failure = yield* failureOf(host.store.open(peer.path))
      assert.strictEqual(failure.reason._tag, "Local")
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual(peer.farewells, saidOf(scene, peer.offers[0]!.half.epoch!))
    })
  )

  play("is said to a peer that does not get ready, and not to one that hears no", (scene) =>
    Effect.gen(function* () {
      const { fabric, host, peer } = scene
      const { half: own } = yield* host.store.takeOffer(peer.offer(half(1, "aaaaaaaa.1")))
      yield* Effect.sleep("11 seconds")
      assert.deepStrictEqual(peer.farewells, saidOf(scene, own.epoch!))
      fabric.strike({ _tag: "QueuePairError", node: "a", step: "rts" })
      yield* Effect.flip(host.store.takeOffer(peer.offer(half(3, "aaaaaaaa.2"))))
      yield* Effect.sleep("11 seconds")
      assert.strictEqual(peer.farewells.length, 1)
    })
  )

  play("keeps nobody from ending for long", (scene) =>
    Effect.gen(function* () {
      yield* ready(scene, "aaaaaaaa.1")
      scene.peer.parted = Effect.never
      const before = yield* Clock.currentTimeMillis
      yield* scene.end
      assert.isAtMost((yield* Clock.currentTimeMillis) - before, 1_100)
      assert.strictEqual(scene.peer.farewells.length, 1)
    })
  )

  play("is not said to a peer that has left, or has begun anew", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      const link = yield* ready(scene, "aaaaaaaa.1")
      yield* host.store.takeOffer(peer.offer(half(3, "aaaaaaaa.2")))
      assert.isFalse(link.isOpen)
      const { epoch } = known(yield* scene.state)
      const said = { from: peer.path, to: "a@sim0", epoch: "aaaaaaaa.2" as Epoch, knows: epoch }
      yield* host.store.takeFarewell(said)
      assert.strictEqual((yield* scene.state)._tag, "Idle")
      yield* Effect.sleep("10 seconds")
      assert.deepStrictEqual(peer.farewells, [])
    })
  )

  play("ends the generation that both sides mean, so the next opening is a new one", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      const link = yield* ready(scene, "aaaaaaaa.1")
      const said = { from: peer.path, to: "a@sim0", knows: link.epoch }
      yield* host.store.takeFarewell({ ...said, epoch: "aaaaaaaa.1" as Epoch })
      assert.isFalse(link.isOpen)
      const next = yield* ready(scene, "aaaaaaaa.2").pipe(Effect.timeout("100 millis"))
      assert.isTrue(next.isOpen)
      assert.strictEqual(peer.offers.length, 2)
    })
  )

  play("of another generation, of either side, or of a stranger ends nothing", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      const link = yield* ready(scene, "aaaaaaaa.1")
      const said = {
        from: peer.path,
        to: "a@sim0",
        epoch: "aaaaaaaa.1" as Epoch,
        knows: link.epoch
      }
      yield* host.store.takeFarewell({ ...said, epoch: "aaaaaaaa.2" as Epoch })
      yield* host.store.takeFarewell({ ...said, knows: "cccccccc.1" as Epoch })
      yield* host.store.takeFarewell({ ...said, from: "x@sim0" })
      yield* host.store.takeFarewell({ ...said, to: "x@sim0" })
      assert.isTrue(link.isOpen)
      assert.strictEqual(host.store.size, 1)
    })
  )
})

describe("what cannot be", () => {
  play("R7 a refusal has its reason on both sides", ({ host, peer, state }) =>
    Effect.gen(function* () {
      peer.answer = () => Effect.fail(no("not-admitted"))
      const failure = yield* failureOf(host.store.open(peer.path))
      assert.deepInclude(failure, { peer: peer.path, local: "a@sim0" })
      assert.strictEqual(failure.reason._tag, "Refused")
      const three = { ...half(1), queuePairs: [1, 2, 3] }
      const refused = yield* Effect.flip(host.store.takeOffer(peer.offer(three)))
      assert.instanceOf(refused, Rejected)
      assert.strictEqual(refused.reason, "incompatible")
      const lost = { ...peer.offer(half(1)), to: "x@sim0" }
      assert.strictEqual((yield* Effect.flip(host.store.takeOffer(lost))).reason, "wrong-path")
      assert.strictEqual((yield* state)._tag, "Idle")
    })
  )

  play("R8 an answer without queue pairs is a failure", ({ host, peer }) =>
    Effect.gen(function* () {
      peer.answering({ ...half(1), queuePairs: [] })
      const failure = yield* Effect.flip(host.store.open(peer.path))
      assert.strictEqual(failure._tag, "EndpointError")
    })
  )

  play("R8: an opening after a retire makes one offer, of new queue pairs", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      peer.answering(half(1, "aaaaaaaa.1"))
      const old = yield* host.store.open(peer.path)
      yield* host.store.retire(old, "broken", "test")
      // The peer has retired its own side as well, and says so to the first offer.
      peer.answer = () => Effect.fail(no("stale"))
      const failure = yield* failureOf(host.store.open(peer.path))
      assert.deepInclude(failure.reason, { _tag: "Refused", refusal: "stale" })
      peer.answering(half(3, "aaaaaaaa.2"))
      assert.isTrue((yield* host.store.open(peer.path)).isOpen)
      yield* Effect.sleep("10 seconds")
      assert.strictEqual(peer.offers.length, 3)
      assert.strictEqual(new Set(peer.offers.flatMap((offer) => offer.half.queuePairs)).size, 6)
    })
  )

  play("R9 nobody is called to answer a call", ({ host, peer }) =>
    Effect.gen(function* () {
      yield* host.store.takeOffer(peer.offer(half(1)))
      yield* host.store.takeOffer(peer.offer(half(3, "aaaaaaaa.1")))
      yield* Effect.sleep("20 seconds")
      assert.deepStrictEqual([peer.offers, peer.acks], [[], []])
    })
  )

  play("H5 an acknowledgement of nothing creates nothing", ({ host, peer }) =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(host.store.takeAcknowledgement(peer.ack(half(1))))
      assert.strictEqual(refused.reason, "unconnected")
      assert.strictEqual(host.store.size, 0)
    })
  )

  play("R18 failing openings leave no queue pairs", ({ fabric, host, peer }) =>
    Effect.gen(function* () {
      for (let count = 0; count < 2_000; count++) {
        yield* Effect.flip(host.store.open(peer.path))
        assert.isAtMost(fabric.resources().queuePairs, 4)
      }
      yield* Effect.sleep("1 second")
      assert.strictEqual(fabric.resources().queuePairs, 0)
    })
  )
})
