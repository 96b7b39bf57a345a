/**
 * States of an endpoint.
 *
 * ```
 * Idle ─▶ CreatingQueuePairs ─▶ Offering ─▶ Connecting ─▶ AwaitingReadyAck ─▶ Ready
 *   ▲             └── (the peer's offer) ──────▲               │               │
 *   └────────────────── EpochEnded, from everywhere ───────────┴───────────────┘
 * ```
 * *Connected* is AwaitingReadyAck: the local queue pairs are up. *Ready* is a separate state and
 * not a flag, so that it cannot outlive its epoch.
 */
import * as Schema from "effect/Schema"
import { Epoch, instanceOf } from "../../schema/Epoch.ts"
import * as EpochOrder from "../link/EpochOrder.ts"
import * as Gate from "../link/Gate.ts"
import { Call, type EndpointEvent, Key } from "./EndpointEvent.ts"
import { Gid } from "../../schema/Gid.ts"
import { Half, Offer } from "./Handshake.ts"

const memory = {
  ...EpochOrder.incarnationFields,
  /**
   * Local GIDs that the device refused towards this peer, until an opening fails because of them.
   */
  refused: Schema.Array(Gid)
}
const alive = {
  ...memory,
  epoch: Epoch,
  /** The first epoch of this opening: each GID is tried in a new epoch. */
  opening: Epoch
}
const known = { ...alive, own: Half, peer: Offer }

export const State = Schema.Union([
  Schema.TaggedStruct("Idle", memory),
  /** Queue pairs are being created; with an offer, the peer's half is known already. */
  Schema.TaggedStruct("CreatingQueuePairs", { ...alive, offer: Schema.UndefinedOr(Offer) }),
  /** The local offer is under way. */
  Schema.TaggedStruct("Offering", { ...alive, own: Half }),
  /** The local queue pairs are being connected. */
  Schema.TaggedStruct("Connecting", { ...known, call: Call }),
  /** Both halves are known and the local one is up. Whether the peer's is up is not known. */
  Schema.TaggedStruct("AwaitingReadyAck", { ...known, call: Call, connectedAt: Schema.Finite }),
  Schema.TaggedStruct("Ready", { ...known, key: Key, connectedAt: Schema.Finite })
])

export type State = typeof State.Type

export type In<Tag extends State["_tag"]> = Extract<State, { _tag: Tag }>

export const initial: State = { _tag: "Idle", ...EpochOrder.noIncarnations, refused: [] }

/** The gate of the present epoch. */
export const gateOf = (state: State): Gate.Gate<typeof Key.Type> | undefined => {
  if (state._tag === "Idle") return undefined
  const gate = Gate.closed(state.epoch)
  return state._tag === "Ready" ? Gate.open(gate, state.epoch, state.key) : gate
}

/** The process instance that makes an offer; undefined for peers that name none. */
export const instanceIn = ({ half: { epoch } }: Offer): string | undefined =>
  epoch === undefined ? undefined : instanceOf(epoch)

type Memory = Pick<State, "newest" | "gone" | "refused">

const remembered = ({ gone, newest, refused }: State): Memory => ({ newest, gone, refused })

/** Memory of the peer after an offer of it was taken. */
const remember = (state: State, { half: { epoch } }: Offer): Memory =>
  epoch === undefined
    ? remembered(state)
    : { ...EpochOrder.remember(state, epoch), refused: state.refused }

/** Fields that stay the same from state to state. */
const going = (state: Exclude<State, In<"Idle">>) => {
  const { epoch, opening } = state
  return { ...remembered(state), epoch, opening }
}

const unlock = (waiting: In<"AwaitingReadyAck">, key: typeof Key.Type): State => {
  const { connectedAt, own, peer } = waiting
  return { _tag: "Ready", ...going(waiting), own, peer, key, connectedAt }
}

type Evolve = {
  readonly [Tag in EndpointEvent["_tag"]]: (
    state: State,
    event: Extract<EndpointEvent, { _tag: Tag }>
  ) => State
}

/** The next state for each event. An event that does not apply to a state leaves it unchanged. */
export const evolve: Evolve = {
  EpochBegan: (state, { epoch, offer }) => ({
    _tag: "CreatingQueuePairs",
    ...(offer === undefined ? remembered(state) : remember(state, offer)),
    epoch,
    opening: epoch,
    offer
  }),
  GidRefused: (state, { epoch, gid, offer }) => {
    if (state._tag === "Idle") return state
    const refused = [...state.refused, gid]
    return { _tag: "CreatingQueuePairs", ...going(state), refused, epoch, offer }
  },
  OfferCrossed: (state, { offer }) =>
    state._tag === "CreatingQueuePairs" ? { ...state, ...remember(state, offer), offer } : state,
  QueuePairsCreated: (state, { own }) => {
    if (state._tag !== "CreatingQueuePairs") return state
    const { offer } = state
    return offer === undefined
      ? { _tag: "Offering", ...going(state), own }
      : { _tag: "Connecting", ...going(state), own, peer: offer, call: "none" }
  },
  OfferExchanged: (state, { call, offer }) =>
    state._tag === "Offering"
      ? { ...state, ...remember(state, offer), _tag: "Connecting", peer: offer, call }
      : state,
  CallBegan: (state) => (state._tag === "AwaitingReadyAck" ? { ...state, call: "out" } : state),
  CallReturned: (state, { taken }) =>
    state._tag === "Connecting" || state._tag === "AwaitingReadyAck"
      ? { ...state, call: taken ? "taken" : "none" }
      : state,
  Connected: (state, { at, key }) => {
    if (state._tag !== "Connecting") return state
    const waiting: In<"AwaitingReadyAck"> = { ...state, _tag: "AwaitingReadyAck", connectedAt: at }
    return key === undefined ? waiting : unlock(waiting, key)
  },
  BecameReady: (state, { key }) => {
    if (state._tag === "Ready") return { ...state, key }
    return state._tag === "AwaitingReadyAck" ? unlock(state, key) : state
  },
  EpochEnded: (state, { reason }) => {
    // Refused GIDs are remembered only while an attempt without them can still succeed.
    const refused = reason === "local" ? [] : state.refused
    return { _tag: "Idle", ...remembered(state), refused }
  }
}
