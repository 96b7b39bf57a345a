/** Joins at an address, and waits until links lead both ways. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { MeetFailed } from "../BusError.ts"
import { parseAddress } from "./addresses.ts"
import type { Link } from "./link.ts"
import type { RunningNode } from "./running.ts"

/** Why a link did not lead to a member that knows this node, when its time is over. */
const failureOf = (link: Link, address: string): MeetFailed => {
  switch (link.end) {
    case "Myself":
      return new MeetFailed({ address, reason: "Myself", detail: "this node listens there" })
    case "AnotherNode":
    case "OtherCluster":
      return new MeetFailed({ address, reason: "OtherCluster", detail: "a stranger answered" })
    default:
  }
  return link.peer === undefined
    ? new MeetFailed({ address, reason: "NoAnswer", detail: "nothing there answered as a node" })
    : new MeetFailed({
        address,
        reason: "CannotReachUs",
        detail: `${link.peer.id} answered, and has not connected to this node`
      })
}

/** Ends within `meetWithinMs`. */
export const meet = (
  { members, node }: RunningNode,
  address: string
): Effect.Effect<void, MeetFailed> =>
  Effect.gen(function* () {
    const to = parseAddress(address)
    if (to === undefined) {
      return yield* new MeetFailed({ address, reason: "BadAddress", detail: "not host:port" })
    }
    const link = node.meet(to)
    const hasEnded = () => link.end === "Myself" || link.end === "OtherCluster"
    const isJoined = () => link.peer !== undefined && link.peer.inbound !== undefined
    yield* members.stream.pipe(
      Stream.takeUntil(() => isJoined() || hasEnded()),
      Stream.runDrain,
      Effect.timeoutOption(node.table.settings.meetWithinMs)
    )
    if (!isJoined()) return yield* failureOf(link, address)
    return undefined
  })
