/** Gives a rail its link: by an attempt of this side, or from the peer. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { NoDescription } from "../../rdma/Directory.ts"
import type { LinkFailure } from "../../endpoint/Links.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { StopReason } from "./job.ts"
import type { EngineContext } from "./engineContext.ts"
import type { CircuitBreaker } from "../../link/CircuitBreaker.ts"
import type { Rail, RailPeer } from "./rail.ts"

/** The peer of a set of rails, as the set and its attempts to open them need it. */
export interface RailSetPeer extends RailPeer {
  /** Bytes that are not posted. */
  readonly waiting: number
  /** Distance of each remote NIC from the memory of the next slice; empty if all are equal. */
  readonly distances: ReadonlyArray<number>
  /** The reason why no transfer may begin, if there is one. */
  readonly refusal: StopReason | undefined
  /** Whether a link's path shows that it is of this peer. */
  readonly isNamedBy: (link: ReadyLink) => boolean
  /** Called when the peer has opened a link. */
  readonly onSeen: () => void
  /** Stops all transfers. */
  readonly giveUp: (detail: string) => void
  readonly breaker: CircuitBreaker
  /** Whether the directory is asked before a link is opened. */
  isStale: boolean
  /** Asks the directory, unless it has just answered. */
  readonly refresh: Effect.Effect<void, NoDescription>
  /** Determines the process that a link leads to, before the link is used. */
  readonly recognised: <A>(
    link: ReadyLink,
    use: (recognised: Effect.Effect<void, NoDescription | LinkFailure>) => Effect.Effect<A>
  ) => Effect.Effect<A>
}

export type Opening = Effect.Effect<ReadyLink, LinkFailure | NoDescription>

/** Makes one attempt. A peer whose connections failed may have moved, so it is looked up first. */
export const open = (
  { nic: { path }, scheduler }: Rail,
  peer: RailSetPeer,
  { links, settings }: EngineContext
): Opening =>
  peer.refresh.pipe(
    Effect.andThen(links.open(scheduler.nic, path)),
    Effect.timeoutOrElse({
      duration: settings.openWithinMs,
      orElse: () => Effect.fail({ _tag: "Unanswered", message: "the attempt did not end" })
    }),
    Effect.withSpan("TransferEngine.open", {
      attributes: { "handfast.local": scheduler.nic.path, "handfast.peer": path }
    })
  )

/**
 * Recognises the process that a link leads to before the rail gets it. The newest attempt counts: a
 * link that the peer opens settles one that hangs.
 */
export const adopt = (
  rail: Rail,
  peer: RailSetPeer,
  links: EngineContext["links"],
  opening: Opening,
  opened: (exit: Exit.Exit<ReadyLink, LinkFailure | NoDescription>) => void
): Effect.Effect<void> => {
  const attempt = ++rail.attempts
  const settle: typeof opened = (exit) => {
    if (attempt === rail.attempts) opened(exit)
  }
  return Effect.flatMap(Effect.exit(opening), (exit) => {
    if (Exit.isFailure(exit)) return Effect.sync(() => settle(exit))
    const link = exit.value
    return peer.recognised(link, (recognised) =>
      Effect.map(Effect.exit(Effect.as(recognised, link)), (exit) => {
        if (Exit.isFailure(exit)) links.retire(link, "it leads to another process")
        settle(exit)
      })
    )
  })
}

/** Looks for the NICs of a peer that describes none, as long as work waits for a peer. */
export const findNics = (
  peer: RailSetPeer,
  { backoff, now }: EngineContext,
  search: { readonly giveUp: () => void; readonly isOver: () => boolean }
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const waits = backoff()
    while (true) {
      if (peer.breaker.failed(now(), true)) search.giveUp()
      if (search.isOver()) return
      yield* Effect.sleep(waits.next())
      peer.isStale = true
      yield* Effect.ignore(peer.refresh)
    }
  })
