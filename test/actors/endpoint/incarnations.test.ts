/**
 * Goal: nobody but the process at a peer's path replaces the incarnation that is connected: one
 * forged offer neither ends a live peer's connection nor locks the peer out.
 *
 * Method: a scripted peer that says which instance it is, on a quiet simulated network; offers of
 * other instances in each state of the endpoint.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Offer } from "../../../src/actors/endpoint/Handshake.ts"
import { it } from "../../../src/testing/vitest.ts"
import { half, type Scene, scene } from "./scriptedPeer.ts"

const play = (name: string, act: Parameters<typeof scene>[0]) =>
  it.sim(name, { seeds: 3 }, () => scene(act))

const [live, forged] = ["aaaaaaaa", "bbbbbbbb"]

/** The endpoint is ready with the first generation of the live instance. */
const connect = Effect.fnUntraced(function* ({ host, peer }: Scene) {
  const first = half(1, `${live}.1`)
  const answer = yield* host.store.takeOffer(peer.offer(first))
  yield* host.store.takeAcknowledgement(peer.ack(first, answer.half.epoch))
  return answer
})

/** An offer that says it comes from another instance than the peer is. */
const forge = ({ peer }: Scene, epoch: string | undefined = `${forged}.1`): Offer => {
  const offer = peer.offer(half(7, epoch))
  peer.instance = live
  return offer
}

const readyEpoch = Effect.fnUntraced(function* ({ state }: Scene) {
  const now = yield* state
  return now._tag === "Ready" ? now.epoch : now._tag
})

describe("an incarnation of a peer", () => {
  for (const epoch of [`${forged}.1`, `${forged}.999`, undefined]) {
    play(`closed: is not replaced by a forged offer of ${epoch ?? "no instance"}`, (scene) =>
      Effect.gen(function* () {
        const { half: own } = yield* connect(scene)
        const refused = yield* Effect.flip(scene.host.store.takeOffer(forge(scene, epoch)))
        assert.deepInclude(refused, { reason: "stale" })
        assert.strictEqual(yield* readyEpoch(scene), own.epoch)
        // The live one is not locked out.
        const next = yield* scene.host.store.takeOffer(scene.peer.offer(half(3, `${live}.2`)))
        assert.notStrictEqual(next.half.epoch, own.epoch)
      })
    )
  }

  play("closed: is not locked out by an offer that was forged while it was away", (scene) =>
    Effect.gen(function* () {
      const { half: own } = yield* connect(scene)
      const farewell = { from: scene.peer.path, to: scene.host.nic.path }
      const [epoch, knows] = [half(1, `${live}.1`).epoch!, own.epoch!]
      yield* scene.host.store.takeFarewell({ ...farewell, epoch, knows })
      assert.strictEqual((yield* scene.state)._tag, "Idle")
      yield* Effect.flip(scene.host.store.takeOffer(forge(scene)))
      yield* scene.host.store.takeOffer(scene.peer.offer(half(3, `${live}.2`)))
    })
  )

  play("closed: is replaced as the process says that is there, also if that has no name", (scene) =>
    Effect.gen(function* () {
      const { host, peer } = scene
      const { half: own } = yield* connect(scene)
      const offer = forge(scene)
      peer.instance = undefined
      assert.deepInclude(yield* Effect.flip(host.store.takeOffer(offer)), { reason: "stale" })
      assert.strictEqual(yield* readyEpoch(scene), own.epoch)
      const answer = yield* host.store.takeOffer(peer.offer(half(7)))
      assert.notStrictEqual(answer.half.epoch, own.epoch)
    })
  )

  play("closed: is replaced by one that the process at its path says it is", (scene) =>
    Effect.gen(function* () {
      const { half: own } = yield* connect(scene)
      const answer = yield* scene.host.store.takeOffer(scene.peer.offer(half(1, `${forged}.1`)))
      assert.notStrictEqual(answer.half.epoch, own.epoch)
      // And back: what was taken for gone is believed if it is there.
      yield* scene.host.store.takeOffer(scene.peer.offer(half(1, `${live}.9`)))
    })
  )

  play("closed: is replaced at once by a caller that is authenticated", (scene) =>
    Effect.gen(function* () {
      const { half: own } = yield* connect(scene)
      const answer = yield* scene.host.store.takeOffer(forge(scene), true)
      assert.notStrictEqual(answer.half.epoch, own.epoch)
    })
  )

  play("closed: is replaced when it does not answer, and comes back when it does", (scene) =>
    Effect.gen(function* () {
      const { host, network, peer } = scene
      const from = "q@sim0"
      const offer = (epoch: string) => host.store.takeOffer({ ...peer.offer(half(1, epoch)), from })
      yield* offer(`${live}.1`)
      // Nobody listens at that path.
      yield* offer(`${forged}.1`)
      assert.deepInclude(yield* Effect.flip(offer(`${live}.2`)), { reason: "stale" })
      yield* network.serve(from, peer, () => live)
      yield* offer(`${live}.3`)
      assert.deepInclude(yield* Effect.flip(offer(`${forged}.2`)), { reason: "stale" })
    })
  )
})
