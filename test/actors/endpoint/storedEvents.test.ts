/**
 * Goal: journals that earlier versions wrote are read for ever, also where tags had other names.
 * Method: events and a snapshot as the first version stored them are put into a journal, and an
 * endpoint recovers from it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Endpoint from "../../../src/actors/endpoint/Endpoint.ts"
import { EndpointEvent } from "../../../src/actors/endpoint/EndpointEvent.ts"
import { State } from "../../../src/actors/endpoint/EndpointState.ts"
import { renameTags } from "../../../src/actors/endpoint/internal/upcasts.ts"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"

const gid = `"gid":"00000000000000000000ffff0a000001"`
const half = (epoch: string) => `{"queuePairs":[1,2],${gid},"lid":0,"epoch":"${epoch}","mtu":null}`
const offer = `{"from":"b@x","to":"a@x","half":${half("bbbbbbbb.5")},"knows":null,"hasGate":true}`
const gone = `"newest":"bbbbbbbb.5","gone":["cccccccc"],"refused":[]`
const alive = `${gone},"epoch":"aaaaaaaa.1","opening":"aaaaaaaa.1"`
const known = `${alive},"own":${half("aaaaaaaa.1")},"peer":${offer}`

/** As the first version stored them, and the tags that they have now. */
const events: ReadonlyArray<readonly [now: string, stored: string]> = [
  ["EpochBegan", `{"_tag":"Began","epoch":"aaaaaaaa.1","offer":${offer}}`],
  ["GidRefused", `{"_tag":"GidRefused",${gid},"detail":"no","epoch":"aaaaaaaa.2","offer":null}`],
  ["OfferCrossed", `{"_tag":"Crossed","offer":${offer}}`],
  ["QueuePairsCreated", `{"_tag":"Made","own":${half("aaaaaaaa.1")}}`],
  ["OfferExchanged", `{"_tag":"PeerKnown","offer":${offer},"call":"taken"}`],
  ["CallBegan", `{"_tag":"CallBegan"}`],
  ["CallReturned", `{"_tag":"CallReturned","taken":true}`],
  ["Connected", `{"_tag":"Connected","at":1,"key":null}`],
  ["BecameReady", `{"_tag":"BecameReady","key":"taken"}`],
  ["EpochEnded", `{"_tag":"Ended","reason":"broken","detail":"flushed","farewell":null}`]
]

const states: ReadonlyArray<readonly [now: string, stored: string]> = [
  ["Idle", `{"_tag":"Idle",${gone}}`],
  ["CreatingQueuePairs", `{"_tag":"Making",${alive},"offer":null}`],
  ["Offering", `{"_tag":"Calling",${alive},"own":${half("aaaaaaaa.1")}}`],
  ["Connecting", `{"_tag":"Raising",${known},"call":"out"}`],
  ["AwaitingReadyAck", `{"_tag":"Waiting",${known},"call":"none","connectedAt":1}`],
  ["Ready", `{"_tag":"Ready",${known},"key":"acknowledged","connectedAt":1}`]
]

/** Decodes what was stored, and encodes it again with the former tag. */
const through = (schema: Schema.Codec<{ readonly _tag: string }, unknown>, stored: string) => {
  const json = Schema.toCodecJson(schema)
  const decoded = Schema.decodeUnknownSync(json)(renameTags(JSON.parse(stored)))
  const again = Schema.encodeSync(json)(decoded) as object
  return { tag: decoded._tag, again: { ...again, _tag: JSON.parse(stored)._tag } }
}

describe("events and states of the first version", () => {
  for (const [now, stored] of events) {
    it(`are read: ${now}`, () => {
      assert.deepStrictEqual(through(EndpointEvent, stored), {
        tag: now,
        again: JSON.parse(stored)
      })
    })
  }

  for (const [now, stored] of states) {
    it(`are read: the state ${now}`, () => {
      assert.deepStrictEqual(through(State, stored), { tag: now, again: JSON.parse(stored) })
    })
  }

  /** An endpoint of which nothing is asked but to recover. */
  const behavior = Endpoint.make({
    now: () => 0,
    rules: { ...Endpoint.defaults, path: "a@x" },
    meter: { ended: () => undefined },
    farewell: () => undefined
  } as unknown as Endpoint.EndpointServices)

  const recovered = (stored: ReadonlyArray<string>, snapshot?: string) =>
    Effect.gen(function* () {
      const store = makeMemory()
      const actor = `Endpoint/${Endpoint.idOf("a@x", "b@x")}`
      const claim = yield* store.claim(actor)
      yield* store.append({
        ...claim,
        actor,
        expected: 0,
        events: stored.map((body) => ({
          type: JSON.parse(body)._tag as string,
          version: 1,
          body,
          at: 1,
          tags: []
        }))
      })
      const seq = stored.length
      if (snapshot !== undefined) {
        yield* store.saveSnapshot(
          { ...claim, actor },
          { actor, seq, version: 1, body: snapshot, at: 1 }
        )
      }
      const endpoint = yield* Actor.spawn(behavior, Endpoint.idOf("a@x", "b@x")).pipe(
        Effect.provideService(Journal, store)
      )
      return yield* endpoint.state
    }).pipe(Effect.scoped)

  it.effect("lead an endpoint to the memory of its peer that it had", () =>
    Effect.gen(function* () {
      const state = yield* recovered(events.slice(0, 1).map(([, stored]) => stored))
      assert.deepStrictEqual([state._tag, state.newest], ["Idle", "bbbbbbbb.5"])
    })
  )

  it.effect("lead there from a snapshot, too", () =>
    Effect.gen(function* () {
      const waiting = states.find(([now]) => now === "AwaitingReadyAck")![1]
      const state = yield* recovered([events[0]![1]], waiting)
      assert.deepStrictEqual([state._tag, state.newest], ["Idle", "bbbbbbbb.5"])
      assert.deepStrictEqual(state.gone, ["cccccccc"])
    })
  )
})
