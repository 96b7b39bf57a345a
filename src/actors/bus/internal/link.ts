/** One connection to a peer, as decisions see it. `Peer` is what the node knows of the peer. */
import type { SendStatus } from "../../../native/io/Lane.ts"
import type { LaneError } from "../../../native/io/LaneError.ts"
import type { SocketOpenError } from "../../../native/io/PoolError.ts"

/** Where the bus of a node is reached. */
export interface Address {
  readonly ip: string
  readonly busPort: number
}

export const addressText = ({ busPort, ip }: Address): string => `${ip}:${busPort}`

export const isSameAddress = (one: Address, other: Address): boolean =>
  one.busPort === other.busPort && one.ip === other.ip

/** Why a link was ended from this side. */
export type LinkEnd =
  /** The first frame of a stranger, which is not admitted. */
  | "NotAdmitted"
  /** The connection leads back to this node. */
  | "Myself"
  /** At the address of a known node another one answered. */
  | "AnotherNode"
  /** At the address of a seed a node answered that is not of this cluster. */
  | "OtherCluster"
  /** The sender of a bound link changed. */
  | "SenderChanged"
  /** A newer link of the same peer and direction took its place. */
  | "Replaced"
  /** The first full frame of a known node did not come in time, or too many others came. */
  | "Unproven"
  /** It led to a known node, or came from one, that is not at its known address, which answers. */
  | "SecondAddress"
  /** The connection whose address it was to check is over. */
  | "NotNeeded"
  /** A PING was not answered, nor anything else sent, for half the node timeout. */
  | "PingUnanswered"
  /** The peer was forgotten, or this node was. */
  | "Forgotten"
  | "Stopped"

/** The connection under a link. */
export interface Channel {
  /** `spareBytes` of the send queue are left free for what is sent without. */
  readonly send: (bytes: Uint8Array, spareBytes?: number) => SendStatus
  readonly close: () => void
}

/** A link that was dialled says first who it looks for; one that was accepted waits. */
export type Purpose =
  /** Look for a node that is known: another one at its address is not spoken to. */
  | { readonly _tag: "Known"; readonly id: string }
  /** Ask whoever answers to take this node in. */
  | { readonly _tag: "Meet" }
  /** Look which node answers, when peers are known: a stranger is met if the settings admit it. */
  | { readonly _tag: "Look" }
  /** Only ask which node answers: that is answered also where no strangers are taken in. */
  | { readonly _tag: "Ask" }
  | { readonly _tag: "Accepted" }

/** A connection speaks under the id of a node that is known elsewhere. */
export interface Claim<Peer> {
  readonly member: Peer
  readonly address: Address
  readonly madeAt: number
  /** The dial that shows whether the node answers there. */
  dial: Link<Peer> | undefined
}

export class Link<Peer> {
  readonly purpose: Purpose
  /** The other end as its user named it. */
  readonly dialled: Address
  /** The other end as the connection shows it. */
  remote: Address
  readonly openedAt: number
  channel: Channel | undefined = undefined
  /** The node that the first full frame came from: the gate. Undefined before it. */
  peer: Peer | undefined = undefined
  /** Until the gate opens, of an accepted link. */
  claim: Claim<Peer> | undefined = undefined
  end: LinkEnd | undefined = undefined
  /** When bytes of its node came last. */
  heardAt = -Infinity
  /** Frames before the gate opened. */
  unprovenFrames = 0
  /** When the PING left that is not answered yet. */
  pingSentAt: number | undefined = undefined
  /** Bytes that left since the last PING. */
  #bytesSincePing = 0
  /** Bytes between the PING that is not answered yet and the one before it. */
  bytesBeforePing = 0
  provenAt = Infinity
  rttMs: number | undefined = undefined
  /** The failure of its connection, unless either side closed it in order. */
  failure: SocketOpenError | LaneError | undefined = undefined
  /** Ends the attempt to connect it. */
  abandon: (() => void) | undefined = undefined
  /** Called when it is over, for whatever reason. */
  onGone: (() => void) | undefined = undefined

  constructor(purpose: Purpose, remote: Address, openedAt: number) {
    this.purpose = purpose
    this.dialled = remote
    this.remote = remote
    this.openedAt = openedAt
  }

  get isInbound(): boolean {
    return this.purpose._tag === "Accepted"
  }

  get isProven(): boolean {
    return this.peer !== undefined
  }

  /** Connected and not ended. */
  get isOpen(): boolean {
    return this.channel !== undefined && this.end === undefined
  }

  close(end: LinkEnd): void {
    if (this.end !== undefined) return
    this.end = end
    if (this.channel === undefined) this.abandon?.()
    else this.channel.close()
  }

  send(bytes: Uint8Array, spareBytes = 0): SendStatus {
    if (this.channel === undefined || this.end !== undefined) return "closed"
    const status = this.channel.send(bytes, spareBytes)
    if (status === "accepted") this.#bytesSincePing += bytes.length
    return status
  }

  /** Sends a PING, or a MEET. Returns whether it left. */
  ping(bytes: Uint8Array, now: number): boolean {
    if (this.send(bytes) !== "accepted") return false
    this.bytesBeforePing = this.#bytesSincePing - bytes.length
    this.#bytesSincePing = 0
    this.pingSentAt = now
    return true
  }
}
