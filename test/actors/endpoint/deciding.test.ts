/**
 * Goal: an endpoint's decisions depend on every part of its state and of what it is told.
 * Method: tables of states and signals with all that is decided: events, who waits, who is
 * answered what. The deciders are pure, so nothing runs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { EndpointError } from "../../../src/actors/endpoint/EndpointError.ts"
import type { In, State } from "../../../src/actors/endpoint/EndpointState.ts"
import {
  type Acknowledgement,
  type Half,
  HandshakeFailed,
  type Offer,
  Rejected
} from "../../../src/actors/endpoint/Handshake.ts"
import * as advancing from "../../../src/actors/endpoint/internal/advancing.ts"
import * as deciding from "../../../src/actors/endpoint/internal/deciding.ts"
import { defaults, type EndpointSettings } from "../../../src/actors/endpoint/internal/settings.ts"
import type { Decision } from "../../../src/actors/kernel/Decision.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import * as Gid from "../../../src/schema/Gid.ts"

const local = "10.0.0.1:1@nic0"
const remote = "10.0.0.2:1@nic0"
const rules: EndpointSettings = { path: local, ...defaults }
const about = { peer: remote, now: 5_000, fresh: () => "0000000a.9" as Epoch }
const alone = { ...about, peer: local }

const epoch = "0000000a.1" as Epoch
const opening = "0000000a.0" as Epoch
const peerEpoch = "0000000b.5" as Epoch
const later = "0000000b.6" as Epoch
const half = (over: Partial<Half> = {}): Half => ({
  queuePairs: [1, 2],
  gid: Gid.nowhere,
  lid: 0,
  epoch: peerEpoch,
  mtu: undefined,
  ...over
})
const own = half({ queuePairs: [7, 8], epoch })
const offerOf = (over: Partial<Offer> = {}): Offer => ({
  from: remote,
  to: local,
  half: half(),
  knows: undefined,
  hasGate: true,
  ...over
})
const offer = offerOf()
const newer = offerOf({ half: half({ epoch: later }) })
const stale = offerOf({ half: half({ epoch: "0000000b.4" as Epoch }) })
const narrow = offerOf({ half: half({ queuePairs: [1] }) })

const memory = { newest: peerEpoch, gone: [], refused: [] }
const alive = { ...memory, epoch, opening }
const idle: State = { _tag: "Idle", ...memory }
const making: In<"CreatingQueuePairs"> = { _tag: "CreatingQueuePairs", ...alive, offer: undefined }
const offered: In<"CreatingQueuePairs"> = { ...making, offer }
const calling: In<"Offering"> = { _tag: "Offering", ...alive, own }
const raising: In<"Connecting"> = { _tag: "Connecting", ...alive, own, peer: offer, call: "taken" }
const unheard: In<"Connecting"> = { ...raising, call: "none" }
const waiting: In<"AwaitingReadyAck"> = { ...raising, _tag: "AwaitingReadyAck", connectedAt: 1_000 }
const ready: In<"Ready"> = {
  _tag: "Ready",
  ...alive,
  own,
  peer: offer,
  key: "acknowledged",
  connectedAt: 1_000
}
const states: ReadonlyArray<State> = [idle, making, calling, raising, waiting, ready]
const except = (...tags: ReadonlyArray<State["_tag"]>) =>
  states.filter(({ _tag }) => !tags.includes(_tag))

const wordsOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return exit.value
  const error = Cause.squash(exit.cause) as EndpointError | Rejected
  return error._tag === "EndpointError"
    ? `${error.local} ${error.peer} ${error.reason._tag.toLowerCase()}: ${error.reason.detail}`
    : `${error.by} ${error.reason}: ${error.text}`
}

/** All that a decision holds, without what is empty. */
const seen = ({
  answer,
  events,
  kind,
  next,
  pending,
  settlements
}: Decision<object, unknown, unknown>) => {
  assert.strictEqual(next, "continue")
  return {
    ...(events.length === 0 ? {} : { events: events.map((event) => ({ ...event })) }),
    ...(pending === undefined ? {} : { waits: pending }),
    ...(settlements.length === 0
      ? {}
      : { settled: settlements.map(({ exit, key }) => [key, wordsOf(exit)]) }),
    ...(kind === "error" ? { fails: wordsOf(Exit.fail(answer)) } : {}),
    ...(kind === "from-state" ? { replies: (answer as (state: unknown) => unknown)(idle) } : {})
  }
}

const nothing = {}
const answersKey = `answer ${opening}`
const farewell = { from: local, to: remote, epoch, knows: peerEpoch }
const answer: Offer = { from: local, to: remote, half: own, knows: peerEpoch, hasGate: true }

/** All that the end of a generation decides. */
const ended = (reason: string, detail: string, told: object | undefined = undefined) => ({
  events: [{ _tag: "EpochEnded", reason, detail, farewell: told }],
  settled: [
    ["open", `${local} ${remote} ${reason}: ${detail}`],
    [answersKey, `${local} failed: ${detail}`]
  ]
})

const began = (about: Offer | undefined) => ({
  _tag: "EpochBegan",
  epoch: "0000000a.9",
  offer: about
})
const isReady = {
  events: [{ _tag: "BecameReady", key: "acknowledged" }],
  settled: [["open", undefined]]
}

describe("opening", () => {
  it("begins when idle, joins what is under way, and needs nothing when ready", () => {
    assert.deepStrictEqual(seen(deciding.open(idle, about)), {
      events: [began(undefined)],
      waits: "open"
    })
    for (const state of except("Idle", "Ready")) {
      assert.deepStrictEqual(seen(deciding.open(state, about)), { waits: "open" })
    }
    assert.deepStrictEqual(seen(deciding.open(ready, about)), nothing)
  })

  it("T9: calls a peer that has made an offer and is silent since", () => {
    const silent: State = { ...waiting, call: "none" }
    const calls = { events: [{ _tag: "CallBegan" }] }
    assert.deepStrictEqual(seen(deciding.open(silent, about)), { ...calls, waits: "open" })
    assert.deepStrictEqual(seen(deciding.insist(silent)), calls)
    for (const state of states) assert.deepStrictEqual(seen(deciding.insist(state)), nothing)
  })

  it("fails when its actor begins again, also for callers of an idle one", () => {
    const why = "restarted: its actor began again"
    const again = ["open", `${local} ${remote} ${why}`]
    assert.deepStrictEqual(seen(deciding.recover(rules, idle, about)), { settled: [again] })
    const { events, settled } = ended("restarted", "its actor began again")
    assert.deepStrictEqual(seen(deciding.recover(rules, ready, about)), {
      events,
      settled: [...settled, again]
    })
  })
})

describe("the end of a generation", () => {
  const what = { epoch, reason: "broken", detail: "cut" } as const

  it("is only that of the one that is meant, and replies what the peer has to be told", () => {
    assert.deepStrictEqual(seen(deciding.retire(rules, ready, what, about)), {
      ...ended("broken", "cut"),
      replies: farewell
    })
    const other = { ...what, epoch: opening }
    assert.deepStrictEqual(seen(deciding.retire(rules, ready, other, about)), {
      replies: undefined
    })
    assert.deepStrictEqual(seen(deciding.retire(rules, idle, what, about)), { replies: undefined })
  })

  it("is told to a peer that knows of it and names its generations, and not to itself", () => {
    const told = (state: State) => seen(advancing.halfFailed(rules, state, "no memory", about))
    for (const state of [raising, waiting, ready]) {
      assert.deepStrictEqual(told(state), ended("local", "no memory", farewell))
    }
    const nameless = { ...ready, peer: offerOf({ half: half({ epoch: undefined }) }) }
    const itself = { ...ready, peer: offerOf({ from: local }) }
    for (const state of [making, offered, calling, unheard, nameless, itself]) {
      assert.deepStrictEqual(told(state), ended("local", "no memory"))
    }
    assert.deepStrictEqual(told(idle), nothing)
    // A peer that was told nothing of the half that is raised; a connected one knows it.
    assert.deepStrictEqual(
      told({ ...waiting, call: "none" }),
      ended("local", "no memory", farewell)
    )
  })

  it("comes of a deadline until the endpoint is ready", () => {
    const after = (state: State) => seen(advancing.expired(rules, state, 300, about))
    assert.deepStrictEqual(
      after(waiting),
      ended("expired", "AwaitingReadyAck for 300 ms", farewell)
    )
    assert.deepStrictEqual(after(making), ended("expired", "CreatingQueuePairs for 300 ms"))
    assert.deepStrictEqual(after(ready), nothing)
  })

  it("R35: comes of the ready deadline, unless a call has begun or returned since", () => {
    const after = (state: State, since: State) =>
      seen(advancing.notReady(rules, state, { since, millis: 300 }, about))
    assert.deepStrictEqual(
      after(waiting, waiting),
      ended("expired", "AwaitingReadyAck for 300 ms", farewell)
    )
    for (const state of [{ ...waiting }, ...except("AwaitingReadyAck")])
      assert.deepStrictEqual(after(state, waiting), nothing)
  })

  it("comes of a farewell that names both generations", () => {
    const said = { from: remote, to: local, epoch: peerEpoch, knows: epoch }
    const after = (over: Partial<typeof said>, state: State = ready) =>
      seen(deciding.takeFarewell(rules, state, { ...said, ...over }, about))
    assert.deepStrictEqual(after({}), ended("left", `${remote} gave the connection up`))
    assert.deepStrictEqual(after({ epoch: later }), nothing)
    assert.deepStrictEqual(after({ knows: opening }), nothing)
    assert.deepStrictEqual(after({}, calling), nothing)
    assert.deepStrictEqual(after({}, idle), nothing)
  })
})

describe("a peer's offer", () => {
  const take = (
    state: State,
    offer: Offer,
    over: Partial<EndpointSettings> = {},
    now = about.now
  ) => seen(deciding.takeOffer({ ...rules, ...over }, state, offer, { ...about, now }))
  const answersNew = "answer 0000000a.9"
  const replaces = (offer: Offer) => {
    const detail = `${remote} has begun a new generation`
    return {
      events: [
        { _tag: "EpochEnded", reason: "replaced", detail, farewell: undefined },
        began(offer)
      ],
      settled: [[answersKey, `${local} stale: ${detail}`]],
      waits: answersNew
    }
  }

  it("needs as many queue pairs, in every state", () => {
    for (const state of states) {
      assert.deepStrictEqual(take(state, narrow), {
        fails: `${local} incompatible: 2 queue pairs wanted, 1 offered`
      })
    }
  })

  it("of a generation that is over is refused, in every state", () => {
    for (const state of states) {
      assert.deepStrictEqual(take(state, stale), { fails: `${local} stale: 0000000b.4 is over` })
    }
  })

  it("R6: of the newest generation is refused if it is over, or has other queue pairs", () => {
    const refused = { fails: `${local} stale: ${peerEpoch} is over` }
    assert.deepStrictEqual(take(idle, offer), refused)
    const others = offerOf({ half: half({ queuePairs: [5, 6] }) })
    for (const state of states) assert.deepStrictEqual(take(state, others), refused)
  })

  it("begins a generation when idle", () => {
    assert.deepStrictEqual(take(idle, newer), { events: [began(newer)], waits: answersNew })
  })

  it("crosses an opening, unless another offer did so before", () => {
    const crossed = (offer: Offer) => ({
      events: [{ _tag: "OfferCrossed", offer }],
      waits: answersKey
    })
    assert.deepStrictEqual(take(making, newer), crossed(newer))
    assert.deepStrictEqual(take(offered, offer), crossed(offer))
    assert.deepStrictEqual(take(offered, newer), replaces(newer))
  })

  it("makes the peer known while the local offer is on its way", () => {
    assert.deepStrictEqual(take(calling, newer), {
      events: [{ _tag: "OfferExchanged", offer: newer, call: "out" }],
      waits: answersKey
    })
  })

  it("that is newer replaces what there is, and callers that open go on waiting", () => {
    for (const state of [raising, waiting, ready]) {
      assert.deepStrictEqual(take(state, newer), replaces(newer))
    }
  })

  it("that was taken already is answered again", () => {
    assert.deepStrictEqual(take(raising, offer), { waits: answersKey })
    assert.deepStrictEqual(take(waiting, offer), { replies: answer })
    assert.deepStrictEqual(take(ready, offer), { replies: answer })
    assert.deepStrictEqual(take(ready, offer, { gate: "off" }), {
      replies: { ...answer, hasGate: false }
    })
  })

  it("that was taken already stands for readiness of a peer that knows no gate", () => {
    const gateless = offerOf({ hasGate: false })
    assert.deepStrictEqual(take(waiting, gateless), {
      events: [{ _tag: "BecameReady", key: "no-gate" }],
      settled: [["open", undefined]],
      replies: answer
    })
    assert.deepStrictEqual(take(ready, gateless), { replies: answer })
  })
})

describe("an acknowledgement", () => {
  const ack: Acknowledgement = { from: remote, to: local, half: half(), knows: epoch }
  const take = (state: State, over: Partial<Acknowledgement> = {}) =>
    seen(deciding.takeAcknowledgement(rules, state, { ...ack, ...over }))
  const refused = { fails: `${local} stale: the acknowledgement belongs to other queue pairs` }

  it("makes ready, and says nothing new to what is ready", () => {
    assert.deepStrictEqual(take(waiting), isReady)
    assert.deepStrictEqual(take(ready), nothing)
  })

  it("R36: of a peer without generations counts although the peer has taken the local one", () => {
    const nameless = half({ epoch: undefined })
    const taken: In<"Ready"> = { ...ready, key: "taken", peer: offerOf({ half: nameless }) }
    const over = { half: nameless, knows: undefined }
    assert.deepStrictEqual(take(taken, over), isReady)
    assert.deepStrictEqual(take({ ...taken, key: "acknowledged" }, over), nothing)
    assert.deepStrictEqual(take({ ...ready, key: "taken" }), nothing)
  })

  it("needs a connection", () => {
    for (const state of except("AwaitingReadyAck", "Ready")) {
      assert.deepStrictEqual(take(state), {
        fails: `${local} unconnected: acknowledgement of no connection`
      })
    }
  })

  it("counts for the generations and queue pairs that both sides mean", () => {
    assert.deepStrictEqual(take(waiting, { knows: opening }), refused)
    assert.deepStrictEqual(take(waiting, { half: half({ queuePairs: [1, 3] }) }), refused)
    assert.deepStrictEqual(take(ready, { half: half({ epoch: later }) }), refused)
    // A peer without generations cannot name the local one.
    const nameless = half({ epoch: undefined })
    const state = { ...waiting, peer: offerOf({ half: nameless }) }
    assert.deepStrictEqual(take(state, { half: nameless, knows: undefined }), isReady)
  })

  it("that the peer has taken makes ready what waits, and nothing else", () => {
    assert.deepStrictEqual(seen(advancing.acknowledgementTaken(waiting)), {
      ...isReady,
      events: [{ _tag: "BecameReady", key: "taken" }]
    })
    for (const state of except("AwaitingReadyAck")) {
      assert.deepStrictEqual(seen(advancing.acknowledgementTaken(state)), nothing)
    }
  })

  it("that the peer has refused ends what waits, and nothing else", () => {
    const error = new Rejected({ by: remote, reason: "stale", text: "no" })
    const after = (state: State) =>
      seen(advancing.acknowledgementFailed(rules, state, error, about))
    assert.deepStrictEqual(after(waiting), ended("refused", error.message))
    for (const state of except("AwaitingReadyAck")) assert.deepStrictEqual(after(state), nothing)
  })
})

describe("the local half", () => {
  it("is told to the peer once it is made; a NIC that talks to itself is its own peer", () => {
    const made = { _tag: "QueuePairsCreated", own }
    assert.deepStrictEqual(seen(advancing.halfMade(rules, making, own, about)), { events: [made] })
    const offer = { from: local, to: local, half: own, knows: epoch, hasGate: false }
    assert.deepStrictEqual(seen(advancing.halfMade(rules, making, own, alone)), {
      events: [{ _tag: "OfferCrossed", offer }, made]
    })
    for (const state of except("CreatingQueuePairs")) {
      assert.deepStrictEqual(seen(advancing.halfMade(rules, state, own, about)), nothing)
    }
  })

  const connected = (key: string | undefined, from: Offer = answer) => ({
    events: [{ _tag: "Connected", at: 5_000, key }],
    settled: [[answersKey, from], ...(key === undefined ? [] : [["open", undefined]])]
  })

  it("answers the peer once it is up, and opens the gate if there is none", () => {
    const up = (over: Partial<EndpointSettings>, state: State, who = about) =>
      seen(advancing.raised({ ...rules, ...over }, state, who))
    assert.deepStrictEqual(up({}, raising), connected(undefined))
    assert.deepStrictEqual(up({}, raising, alone), connected("self"))
    const gateless = { ...raising, peer: offerOf({ hasGate: false }) }
    assert.deepStrictEqual(up({}, gateless), connected("no-gate"))
    assert.deepStrictEqual(
      up({ gate: "off" }, raising),
      connected("off", { ...answer, hasGate: false })
    )
    for (const state of except("Connecting")) assert.deepStrictEqual(up({}, state), nothing)
  })

  const gid = "1".repeat(32) as Gid.Gid
  const refuse = (state: State, isLast: boolean, who = about, gidTries = 3) =>
    seen(
      advancing.gidRefused({ ...rules, gidTries }, state, { gid, detail: "no route", isLast }, who)
    )
  const next = (offer: Offer | undefined) => ({
    _tag: "GidRefused",
    gid,
    detail: "no route",
    epoch: "0000000a.9",
    offer
  })
  const told = [[answersKey, `${local} stale: it has to use another GID, and offers that`]]

  it("whose GID is refused tries another one, with the offer of a peer that knows nothing", () => {
    assert.deepStrictEqual(refuse(unheard, false), { events: [next(offer)] })
    assert.deepStrictEqual(refuse(raising, false), { events: [next(undefined)], settled: told })
    assert.deepStrictEqual(refuse(unheard, false, alone), {
      events: [next(undefined)],
      settled: told
    })
    for (const state of except("Connecting")) assert.deepStrictEqual(refuse(state, false), nothing)
  })

  it("fails when there is no other GID, or so many were tried, and names all", () => {
    const [a, b] = [Gid.toAddress(Gid.nowhere), Gid.toAddress(gid)]
    assert.deepStrictEqual(refuse(unheard, true), ended("local", `no route; GIDs tried: ${b}`))
    const once = { ...unheard, refused: [Gid.nowhere] }
    assert.deepStrictEqual(
      refuse(once, false, about, 2),
      ended("local", `no route; GIDs tried: ${a}, ${b}`)
    )
    assert.deepStrictEqual(refuse(once, false, about, 3), { events: [next(offer)] })
  })
})

describe("the answer to the local offer", () => {
  const answered = (state: State, offer: Offer, now = about.now) =>
    seen(advancing.answered(rules, state, offer, { ...about, now }))

  it("makes the peer known, if it has as many queue pairs", () => {
    assert.deepStrictEqual(answered(calling, offer), {
      events: [{ _tag: "OfferExchanged", offer, call: "taken" }]
    })
    assert.deepStrictEqual(
      answered(calling, narrow),
      ended("refused", "2 queue pairs wanted, 1 answered")
    )
  })

  it("after the peer's offer is of the same half, of one that is over, or of a new one", () => {
    const returned = (taken: boolean) => ({ events: [{ _tag: "CallReturned", taken }] })
    for (const state of [raising, waiting]) {
      assert.deepStrictEqual(answered(state, offer), returned(true))
      assert.deepStrictEqual(answered(state, stale), returned(false))
      // Callers that open go on waiting, for a generation that the peer is offered.
      const detail = `${remote} has begun a new generation`
      assert.deepStrictEqual(answered(state, newer), {
        events: [
          { _tag: "EpochEnded", reason: "replaced", detail, farewell: undefined },
          began(undefined)
        ],
        settled: [[answersKey, `${local} stale: ${detail}`]]
      })
    }
    for (const state of except("Offering", "Connecting", "AwaitingReadyAck")) {
      assert.deepStrictEqual(answered(state, offer), nothing)
    }
  })

  it("is a failure: it ends a call, and matters little after the peer's offer", () => {
    const rejected = new Rejected({ by: remote, reason: "busy", text: "later" })
    const failed = (state: State, error: Rejected | HandshakeFailed = rejected) =>
      seen(advancing.callFailed(rules, state, error, about))
    assert.deepStrictEqual(failed(calling), ended("refused", rejected.message))
    const silent = new HandshakeFailed({ peer: remote, step: "answer", detail: "silent" })
    assert.deepStrictEqual(failed(calling, silent), ended("unreachable", silent.message))
    for (const state of [raising, waiting]) {
      assert.deepStrictEqual(failed(state), { events: [{ _tag: "CallReturned", taken: false }] })
    }
    for (const state of except("Offering", "Connecting", "AwaitingReadyAck")) {
      assert.deepStrictEqual(failed(state), nothing)
    }
  })
})
