/** Another node of the cluster, as this one knows it. */
import type { FrameView } from "../../../schema/bus/FrameView.ts"
import { MessageFlag, NodeFlag } from "../../../schema/bus/Layout.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { Address, Link } from "./link.ts"

/** A link, and the member that it leads to once its gate is open. */
export type PeerLink = Link<Member>

/** Flags that a node is known by; the others describe a moment of the teller. */
const lastingFlags = ~(
  NodeFlag.myself |
  NodeFlag.suspected |
  NodeFlag.failed |
  NodeFlag.handshake |
  NodeFlag.noAddress |
  NodeFlag.meet
)

export class Member {
  readonly id: string
  readonly idBytes: Uint8Array
  address: Address
  port = 0
  otherPort = 0
  flags: number = NodeFlag.primary
  primary: string | undefined = undefined
  shard: string | undefined = undefined
  hostname: string | undefined = undefined
  configEpoch = 0n
  takesExtensions = false
  /** Whether its own frames, or the journal, have shown that it is of this cluster. */
  isProven = false
  /** When it was named or met, until it is proven. */
  readonly namedAt: number
  /** The link of its last description, and the revision of the slots after it. */
  learnedOn: PeerLink | undefined = undefined
  learnedRevision = -1
  outbound: PeerLink | undefined = undefined
  inbound: PeerLink | undefined = undefined
  /** The address at which it answered first. */
  home: Address
  /** An address at which a node with its id answered, while the known one did too. */
  secondAddress: Address | undefined = undefined
  /** The node that answered last where this one was to be. */
  foundInstead: string | undefined = undefined
  dialAt = 0
  /** Links that it ended right after it had taken them. */
  readonly losses: FaultWindow
  nextPingAt = 0
  lastHeardAt = -Infinity
  /** When it last said what only members are told: this node is in its table. */
  knewUsAt = -Infinity
  lastPongAt = -Infinity
  /** When its last link to this node was lost. */
  inboundLostAt = -Infinity
  /** Since when its PONGs have come without a gap. */
  answersSince = -Infinity
  /** Seconds since 1970 of its last PONG, for gossip. */
  pongSeconds = 0
  /** This node has heard nothing from it for a node timeout. */
  isSuspected = false
  /** A FAIL message said that the cluster has given it up, and it has said nothing since. */
  isFailed = false
  /** It answers PINGs and sends none: it does not know this node any more. */
  hasForgottenUs = false
  rejoinAt = Infinity

  constructor(id: string, address: Address, namedAt: number, losses: FaultWindow) {
    this.id = id
    this.idBytes = Buffer.from(id, "latin1")
    this.address = address
    this.home = address
    this.namedAt = namedAt
    this.losses = losses
  }

  get isReplica(): boolean {
    return (this.flags & NodeFlag.replica) !== 0
  }

  get takesLightPublish(): boolean {
    return (this.flags & NodeFlag.takesLightPublish) !== 0
  }

  get takesLightModule(): boolean {
    return (this.flags & NodeFlag.takesLightModule) !== 0
  }

  /**
   * Takes what a full frame of this node says about it, and returns whether a user would notice.
   * An older epoch than was seen is not taken: of two links, the older one may be read later.
   */
  learn(frame: FrameView): boolean {
    if (frame.configEpoch < this.configEpoch && frame.replicaOf === this.primary) return false
    const flags = frame.flags & lastingFlags
    const { otherPort, port, replicaOf } = frame
    const hasChanged =
      !this.isProven ||
      flags !== this.flags ||
      port !== this.port ||
      otherPort !== this.otherPort ||
      replicaOf !== this.primary
    this.flags = flags
    this.port = port
    this.otherPort = otherPort
    this.primary = replicaOf
    this.configEpoch = frame.configEpoch
    this.takesExtensions = (frame.messageFlags & MessageFlag.hasExtensions) !== 0
    this.isProven = true
    return hasChanged
  }
}
