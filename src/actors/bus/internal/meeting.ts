/** Joins at an address, and waits until links lead both ways. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { MeetFailed } from "../BusError.ts"
import { parseAddress } from "./addresses.ts"
import type { Address } from "./link.ts"
import type { Found } from "./probing.ts"
import type { PeerLink } from "./member.ts"
import type { Node } from "./node.ts"
import type { RunningNode } from "./running.ts"

/** The connection ended over TLS: the peer speaks none, or one side refused a certificate. */
const isTlsRefused = ({ failure }: PeerLink): boolean => {
  if (failure?._tag === "SocketOpenError") return failure.step === "tls"
  return failure?.reason._tag === "PeerReset" && failure.reason.code.startsWith("ERR_SSL")
}

/** Nothing accepts connections at the address: there is nothing to ask. */
const isUnreachable = ({ failure }: PeerLink): boolean =>
  failure?._tag === "SocketOpenError" && failure.step !== "tls"

/** Why a link led to no member. */
const failureOf = (link: PeerLink, address: string): MeetFailed => {
  if (link.end === "Myself") {
    return new MeetFailed({ address, reason: "Myself", detail: "this node listens there" })
  }
  if (link.end === "OtherCluster") {
    const detail = "a node of another cluster answered"
    return new MeetFailed({ address, reason: "OtherCluster", detail })
  }
  if (link.peer !== undefined) {
    const detail = `${link.peer.id} answered, and has not connected to this node`
    return new MeetFailed({ address, reason: "CannotReachUs", detail })
  }
  const detail = link.failure?.message ?? "nothing there answered as a node"
  return new MeetFailed({ address, reason: isTlsRefused(link) ? "TlsRefused" : "NoAnswer", detail })
}

/** A listener is there, and it is no node that this one can speak with. */
const otherwise = (found: Found, address: string, { ip }: Address): MeetFailed => {
  if (found._tag === "TlsRefused") {
    const detail = "it closes connections with this node's certificate"
    return new MeetFailed({ address, reason: "TlsRefused", detail })
  }
  if (found._tag === "SpeaksTls") {
    return new MeetFailed({ address, reason: "SpeaksTls", detail: "this node has no TLS settings" })
  }
  const bus = `${ip.includes(":") ? `[${ip}]` : ip}:${found.busPort}`
  const source = found.isAsked ? "it says" : "by default"
  const detail = `it serves clients; its bus is ${bus}, ${source}`
  return new MeetFailed({ address, reason: "NotABus", detail, bus })
}

/** Waits until a link is gone, or a newer one of its peer has taken its place. */
const lost = ({ table }: Node, link: PeerLink): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const tell = () => {
      if (link.peer === undefined) resume(Effect.void)
    }
    link.onGone = tell
    if (!table.links.has(link)) tell()
  })

/**
 * A node that takes no strangers in closes the link of a MEET without an answer, as what is no node
 * may do. It answers a PING, which asks for nothing.
 */
const isOfOtherCluster = Effect.fnUntraced(function* (node: Node, to: Address) {
  const link = node.ask(to)
  yield* Effect.timeoutOption(lost(node, link), node.table.settings.probeAfterMs)
  node.table.end(link, "Unproven")
  return link.end === "OtherCluster"
})

/** Ends when links lead both ways, or with the reason why they will not. */
const attempt = Effect.fnUntraced(function* (
  { members, node, probe }: RunningNode,
  address: string,
  to: Address,
  link: PeerLink
) {
  const isJoined = () => link.peer !== undefined && link.peer.inbound !== undefined
  const joined = Effect.asVoid(Stream.runDrain(Stream.takeUntil(members.stream, () => isJoined())))
  const { probeAfterMs } = node.table.settings
  const step = Effect.raceFirst(joined, lost(node, link))
  yield* Effect.timeoutOption(step, probeAfterMs)
  const isSilent = link.peer === undefined && link.end === undefined
  if (isSilent && !isTlsRefused(link) && !isUnreachable(link)) {
    if (!node.table.links.has(link) && (yield* isOfOtherCluster(node, to))) {
      link.end = "OtherCluster"
      return yield* failureOf(link, address)
    }
    const found = yield* probe(to)
    if (found !== undefined && link.peer === undefined) return yield* otherwise(found, address, to)
  }
  yield* step
  if (!isJoined()) return yield* failureOf(link, address)
  return undefined
})

/** Ends within `meetWithinMs`. */
export const meet = (running: RunningNode, address: string): Effect.Effect<void, MeetFailed> =>
  Effect.gen(function* () {
    const to = parseAddress(address)
    if (to === undefined) {
      return yield* new MeetFailed({ address, reason: "BadAddress", detail: "not host:port" })
    }
    const { table } = running.node
    const link = running.node.meet(to)
    return yield* attempt(running, address, to, link).pipe(
      Effect.timeoutOrElse({
        duration: table.settings.meetWithinMs,
        orElse: () => Effect.fail(failureOf(link, address))
      }),
      Effect.onError(() =>
        Effect.sync(() => {
          if (link.peer === undefined) table.end(link, "Unproven")
        })
      )
    )
  })
