/** A rail that is in use: a pair of a local and a remote NIC, its link, and its posted work. */
import type * as Effect from "effect/Effect"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { Backoff } from "../../link/Backoff.ts"
import type { PeerNic } from "../../rdma/Directory.ts"
import type { Nic, Place } from "../../rdma/Nic.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { RailFault } from "../TransferError.ts"
import type { Job, JobSlice } from "./job.ts"
import { type Blame, RailCandidate } from "./railSelection.ts"
import type { PeerMemory } from "./slicing.ts"

/** The end of a link under work. */
export interface Loss {
  readonly blame: Blame
  readonly status: string
  /** The local queue pair, if it is known. */
  readonly queuePair?: number
}

/** The peer that a rail leads to, as the scheduler of the local NIC needs it. */
export interface RailPeer {
  readonly memory: PeerMemory
  /** Takes the next slice for a rail; jobs take turns. False if there is none. */
  readonly next: (rail: Rail, into: JobSlice) => boolean
  /** Queues a job that has something to hand out. */
  readonly queue: (job: Job) => void
  /** Lets all open rails take the work that waits. */
  readonly dispatch: () => void
  /** Data has moved: the peer is reachable. */
  readonly onMoved: () => void
  readonly onLinkLost: (rail: Rail, loss: Loss) => void
  /** Gives up a link that has not failed. */
  readonly leave: (rail: Rail, reason: string, link?: ReadyLink) => void
}

/** The scheduler of a local NIC, as peers and the engine need it. */
export interface RailScheduler {
  readonly index: number
  readonly nic: Nic
  readonly health: FaultWindow
  /** The address of the NIC, or the last one that was known. */
  readonly place: Place | undefined
  /** True while the device is gone, with all its resources. */
  readonly isGone: boolean
  /** Schedules a rail that has work or room. */
  readonly dispatch: (rail: Rail) => void
  /** Returns whether the peer still answers on the rail's link. */
  readonly probe: (rail: Rail) => Effect.Effect<boolean>
  /** Gives up the links that work of a job is posted on; other work on them has not failed. */
  readonly leaveLinksOf: (job: Job) => void
}

export class Rail extends RailCandidate {
  readonly peer: RailPeer
  readonly scheduler: RailScheduler
  readonly nic: PeerNic
  link: ReadyLink | undefined = undefined
  /** When the attempt under way began. */
  openingSince: number | undefined = undefined
  /** Attempts to open it so far. */
  attempts = 0
  /** Posted work, on earlier links too. */
  posted = 0
  /** When work on it ended last. */
  progressAt = 0
  /** True while it waits in the run queue of its scheduler. */
  isRunnable = false
  /** True while it counts among those that share the NIC. */
  isActive = false
  /**
   * Links that were ended without a fault of theirs: one request was refused, a transfer was
   * stopped, or the peer restarted. Work that is flushed with them has not failed.
   */
  readonly spared = new WeakSet<ReadyLink>()

  constructor(
    peer: RailPeer,
    scheduler: RailScheduler,
    remote: { readonly nic: PeerNic; readonly index: number },
    { backoff, faultWindow }: { backoff: () => Backoff; faultWindow: () => FaultWindow }
  ) {
    const isPreferred = deviceOf(remote.nic.path) === deviceOf(scheduler.nic.path)
    const ends = { local: scheduler.index, remote: remote.index, isPreferred }
    super(ends, faultWindow(), backoff())
    this.peer = peer
    this.scheduler = scheduler
    this.nic = remote.nic
  }

  get isOpen(): boolean {
    return this.link !== undefined && this.link.isOpen
  }

  get isOpening(): boolean {
    return this.openingSince !== undefined
  }

  /** Whether it may be opened. Work of an earlier link may still be posted. */
  get isIdle(): boolean {
    return this.link === undefined && this.openingSince === undefined
  }

  /** Describes the rail of a failure. */
  faultOf(link: ReadyLink | undefined, queuePair: number, status: string): RailFault {
    return {
      local: this.scheduler.nic.path,
      localGid: this.scheduler.place?.gid,
      queuePair,
      peer: this.nic.path,
      peerGid: this.nic.gid,
      peerQueuePairs: link?.peerQueuePairs ?? [],
      status
    }
  }
}

/** The device's name in `server@nic`. */
const deviceOf = (path: string): string => path.slice(path.indexOf("@") + 1)

/** When the next attempt has taken so long that its NIC also tries another rail. */
export const nextHedgeAt = (
  rails: ReadonlyArray<Rail>,
  hedgeAfterMs: number,
  now: number
): number => {
  const due = rails.map(({ openingSince = Infinity }) => openingSince + hedgeAfterMs)
  return Math.min(...due.filter((at) => at > now))
}
