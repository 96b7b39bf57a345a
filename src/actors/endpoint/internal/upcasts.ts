/** Upcasts events and snapshots of earlier versions. */
import type { Upcast } from "../../kernel/Behavior.ts"

/** Tags of events and states in the first version. */
const formerTags: Readonly<Record<string, string>> = {
  Began: "EpochBegan",
  Crossed: "OfferCrossed",
  Made: "QueuePairsCreated",
  PeerKnown: "OfferExchanged",
  Ended: "EpochEnded",
  Making: "CreatingQueuePairs",
  Calling: "Offering",
  Raising: "Connecting",
  Waiting: "AwaitingReadyAck"
}

/** From the first version of events and snapshots to the second: tags have other names. */
export const renameTags: Upcast = (body) => {
  const { _tag: tag } = body
  return typeof tag === "string" ? { ...body, _tag: formerTags[tag] ?? tag } : body
}
