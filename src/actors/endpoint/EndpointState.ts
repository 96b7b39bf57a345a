/**
 * Where an endpoint stands.
 *
 * ```
 * Idle ─▶ Making ─▶ Calling ─▶ Raising ─▶ Waiting ─▶ Ready
 *   ▲        └─ (the peer's offer) ─▲        │          │
 *   └───────────── Ended, from everywhere ───┴──────────┘
 * ```
 * *Connected* is Waiting: the own half is up. *Ready* is another state and not a flag, so it
 * cannot outlive the generation that it belongs to.
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
  /** Own GIDs that the device refused towards this peer, until an opening fails of it. */
  refused: Schema.Array(Gid)
}
const alive = {
  ...memory,
  epoch: Epoch,
  /** The first generation of this opening: another GID is tried in another generation. */
  opening: Epoch
}
const known = { ...alive, own: Half, peer: Offer }

export const State = Schema.Union([
  Schema.TaggedStruct("Idle", memory),
  /** Queue pairs are being made; with an offer, the peer's half is known already. */
  Schema.TaggedStruct("Making", { ...alive, offer: Schema.UndefinedOr(Offer) }),
  /** The own offer is on its way. */
  Schema.TaggedStruct("Calling", { ...alive, own: Half }),
  /** The own half is being brought up. */
  Schema.TaggedStruct("Raising", { ...known, call: Call }),
  /** Both halves are known and the own one is up. Whether the peer's is, is not known. */
  Schema.TaggedStruct("Waiting", { ...known, call: Call, connectedAt: Schema.Finite }),
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

/** The process instance that makes an offer, if it says so. */
export const instanceIn = ({ half: { epoch } }: Offer): string | undefined =>
  epoch === undefined ? undefined : instanceOf(epoch)

type Memory = Pick<State, "newest" | "gone" | "refused">

const remembered = ({ gone, newest, refused }: State): Memory => ({ newest, gone, refused })

/** What is remembered of a peer once an offer of it is taken up. */
const remember = (state: State, { half: { epoch } }: Offer): Memory =>
  epoch === undefined
    ? remembered(state)
    : { ...EpochOrder.remember(state, epoch), refused: state.refused }

/** What stays as it is from phase to phase. */
const going = (state: Exclude<State, In<"Idle">>) => {
  const { epoch, opening } = state
  return { ...remembered(state), epoch, opening }
}

const unlock = (waiting: In<"Waiting">, key: typeof Key.Type): State => {
  const { connectedAt, own, peer } = waiting
  return { _tag: "Ready", ...going(waiting), own, peer, key, connectedAt }
}

type Evolve = {
  readonly [Tag in EndpointEvent["_tag"]]: (
    state: State,
    event: Extract<EndpointEvent, { _tag: Tag }>
  ) => State
}

/** The next state, for each event. An event that a state cannot see leaves it as it is. */
export const evolve: Evolve = {
  Began: (state, { epoch, offer }) => ({
    _tag: "Making",
    ...(offer === undefined ? remembered(state) : remember(state, offer)),
    epoch,
    opening: epoch,
    offer
  }),
  GidRefused: (state, { epoch, gid, offer }) => {
    if (state._tag === "Idle") return state
    const refused = [...state.refused, gid]
    return { _tag: "Making", ...going(state), refused, epoch, offer }
  },
  Crossed: (state, { offer }) =>
    state._tag === "Making" ? { ...state, ...remember(state, offer), offer } : state,
  Made: (state, { own }) => {
    if (state._tag !== "Making") return state
    const { offer } = state
    return offer === undefined
      ? { _tag: "Calling", ...going(state), own }
      : { _tag: "Raising", ...going(state), own, peer: offer, call: "none" }
  },
  PeerKnown: (state, { call, offer }) =>
    state._tag === "Calling"
      ? { ...state, ...remember(state, offer), _tag: "Raising", peer: offer, call }
      : state,
  CallBegan: (state) => (state._tag === "Waiting" ? { ...state, call: "out" } : state),
  CallReturned: (state, { taken }) =>
    state._tag === "Raising" || state._tag === "Waiting"
      ? { ...state, call: taken ? "taken" : "none" }
      : state,
  Connected: (state, { at, key }) => {
    if (state._tag !== "Raising") return state
    const waiting: In<"Waiting"> = { ...state, _tag: "Waiting", connectedAt: at }
    return key === undefined ? waiting : unlock(waiting, key)
  },
  BecameReady: (state, { key }) => (state._tag === "Waiting" ? unlock(state, key) : state),
  Ended: (state, { reason }) => {
    // What the device refused is only known as long as something works without it.
    const refused = reason === "local" ? [] : state.refused
    return { _tag: "Idle", ...remembered(state), refused }
  }
}
