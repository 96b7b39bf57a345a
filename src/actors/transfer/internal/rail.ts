/** A rail of a peer that is in use: its link, and what is posted on it. */
import type { PeerNic } from "../../rdma/Directory.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { RailFault } from "../TransferError.ts"
import type { Peer } from "./peer.ts"
import type { Pump } from "./nicScheduler.ts"
import { Rail } from "./railSelection.ts"
import type { Core } from "./core.ts"

export class Way extends Rail {
  readonly peer: Peer
  readonly pump: Pump
  readonly nic: PeerNic
  link: ReadyLink | undefined = undefined
  /** Since when it is being opened. */
  openingSince: number | undefined = undefined
  /** Attempts to open it so far. */
  attempts = 0
  /** Slices that are posted on it, those on links before this one included. */
  posted = 0
  /** When something ended on it last. */
  progressAt = 0
  /** Whether it waits for its turn to post. */
  isHungry = false
  /** Whether it counts among those that share the card. */
  isActive = false
  /**
   * Links that ended by no fault of theirs: one request was refused, a transfer was stopped, or the
   * peer began again. What is flushed with them has not failed.
   */
  readonly spared = new WeakSet<ReadyLink>()

  constructor(peer: Peer, pump: Pump, nic: PeerNic, remote: number, core: Core) {
    super(
      { local: pump.index, remote, isPreferred: cardOf(nic.path) === cardOf(pump.nic.path) },
      core.faultWindow(),
      core.backoff()
    )
    this.peer = peer
    this.pump = pump
    this.nic = nic
  }

  get isOpen(): boolean {
    return this.link !== undefined && this.link.isOpen
  }

  get isOpening(): boolean {
    return this.openingSince !== undefined
  }

  /** Whether it may be opened. What is left of an earlier link may still be posted. */
  get isIdle(): boolean {
    return this.link === undefined && this.openingSince === undefined
  }

  /** All that is known of where something failed. */
  faultOf(link: ReadyLink | undefined, queuePair: number, status: string): RailFault {
    return {
      local: this.pump.nic.path,
      localGid: this.pump.place?.gid,
      queuePair,
      peer: this.nic.path,
      peerGid: this.nic.gid,
      peerQueuePairs: link?.peerQueuePairs ?? [],
      status
    }
  }
}

/** The name of the card in `server@nic`. */
const cardOf = (path: string): string => path.slice(path.indexOf("@") + 1)

/** When the next attempt has taken so long that its card tries another way too. */
export const hedgeAt = (ways: ReadonlyArray<Way>, hedge: number, now: number): number => {
  const due = ways.map(({ openingSince = Infinity }) => openingSince + hedge)
  return Math.min(...due.filter((at) => at > now))
}
