/** How a way gets its link: by an attempt of this side, or from the peer. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { NoDescription } from "../../rdma/Directory.ts"
import type { LinkFailure } from "../../endpoint/Links.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { Core } from "./core.ts"
import type { Peer } from "./peer.ts"
import type { Way } from "./rail.ts"

export type Opening = Effect.Effect<ReadyLink, LinkFailure | NoDescription>

/** One attempt. A peer whose connections failed may be elsewhere, so it is asked before. */
export const open = ({ nic: { path }, peer, pump }: Way, { links, settings }: Core): Opening =>
  peer.refresh.pipe(
    Effect.andThen(links.open(pump.nic, path)),
    Effect.timeoutOrElse({
      duration: settings.openWithinMs,
      orElse: () => Effect.fail({ _tag: "Unanswered", message: "the attempt did not end" })
    }),
    Effect.withSpan("TransferEngine.open", {
      attributes: { "handfast.local": pump.nic.path, "handfast.peer": path }
    })
  )

/**
 * Recognises the process that the link leads to; only then may the way have it. The newest attempt
 * counts: a link that arrives settles one that hangs.
 */
export const adopt = (
  way: Way,
  { links }: Core,
  opening: Opening,
  opened: (exit: Exit.Exit<ReadyLink, LinkFailure | NoDescription>) => void
): Effect.Effect<void> => {
  const attempt = ++way.attempts
  const settle: typeof opened = (exit) => {
    if (attempt === way.attempts) opened(exit)
  }
  return Effect.flatMap(Effect.exit(opening), (exit) => {
    if (Exit.isFailure(exit)) return Effect.sync(() => settle(exit))
    const link = exit.value
    return way.peer.recognised(link, (recognised) =>
      Effect.map(Effect.exit(Effect.as(recognised, link)), (exit) => {
        if (Exit.isFailure(exit)) links.retire(link, "it leads to another process")
        settle(exit)
      })
    )
  })
}

/** Asks a peer that tells of no card again, for as long as work waits for a peer. */
export const findCards = (
  peer: Peer,
  { backoff, now }: Core,
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
