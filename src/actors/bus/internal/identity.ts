/**
 * What a node is across restarts: its id and shard, the port it was reached at, the addresses of
 * its peers, and whether it was removed. Only changes are stored: an hour of heartbeats adds
 * nothing.
 */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import { NodeId } from "../../../schema/bus/Message.ts"
import * as Behavior from "../../kernel/Behavior.ts"
import * as Decision from "../../kernel/Decision.ts"
import type { Address } from "./link.ts"

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

const Begin = Rpc.make("Begin", { payload: { id: NodeId, shard: NodeId } })
const TakePort = Rpc.make("TakePort", { payload: { port: Port } })
const KeepPeer = Rpc.make("KeepPeer", {
  payload: { id: NodeId, ip: Schema.String, busPort: Port }
})
const DropPeer = Rpc.make("DropPeer", { payload: { id: NodeId } })
const Remove = Rpc.make("Remove", {})
const Return = Rpc.make("Return", {})

class Began extends Schema.TaggedClass<Began>()("Began", { id: NodeId, shard: NodeId }) {}
class PortTaken extends Schema.TaggedClass<PortTaken>()("PortTaken", { port: Port }) {}
class PeerKept extends Schema.TaggedClass<PeerKept>()("PeerKept", {
  id: NodeId,
  ip: Schema.String,
  busPort: Port
}) {}
class PeerDropped extends Schema.TaggedClass<PeerDropped>()("PeerDropped", { id: NodeId }) {}
class NodeRemoved extends Schema.TaggedClass<NodeRemoved>()("NodeRemoved", {}) {}
class NodeReturned extends Schema.TaggedClass<NodeReturned>()("NodeReturned", {}) {}

export interface Identity {
  /** Empty before the first start. */
  readonly id: string
  readonly shard: string
  readonly port: number
  readonly peers: ReadonlyMap<string, Address>
  readonly isRemoved: boolean
}

const initial: Identity = { id: "", shard: "", port: 0, peers: new Map(), isRemoved: false }

export const BusIdentity = Behavior.make("BusIdentity", {
  commands: [Begin, TakePort, KeepPeer, DropPeer, Remove, Return],
  events: Schema.Union([Began, PortTaken, PeerKept, PeerDropped, NodeRemoved, NodeReturned]),
  initial,
  decide: {
    // A node that has begun keeps its id, whatever is proposed.
    Begin: (state, { id, shard }) =>
      state.id === "" ? Decision.persist(new Began({ id, shard })) : Decision.none,
    TakePort: (state, { port }) =>
      state.port === port ? Decision.none : Decision.persist(new PortTaken({ port })),
    KeepPeer: (state, { busPort, id, ip }) => {
      const known = state.peers.get(id)
      const isKept = known?.ip === ip && known.busPort === busPort
      return isKept ? Decision.none : Decision.persist(new PeerKept({ id, ip, busPort }))
    },
    DropPeer: (state, { id }) =>
      state.peers.has(id) ? Decision.persist(new PeerDropped({ id })) : Decision.none,
    Remove: (state) => (state.isRemoved ? Decision.none : Decision.persist(new NodeRemoved())),
    Return: (state) => (state.isRemoved ? Decision.persist(new NodeReturned()) : Decision.none)
  },
  evolve: {
    Began: (state, { id, shard }) => ({ ...state, id, shard }),
    PortTaken: (state, { port }) => ({ ...state, port }),
    PeerKept: (state, { busPort, id, ip }) => ({
      ...state,
      peers: new Map([...state.peers, [id, { ip, busPort }]])
    }),
    PeerDropped: (state, { id }) => ({
      ...state,
      peers: new Map([...state.peers].filter(([known]) => known !== id))
    }),
    NodeRemoved: (state) => ({ ...state, isRemoved: true }),
    NodeReturned: (state) => ({ ...state, isRemoved: false, peers: new Map<string, Address>() })
  }
})
