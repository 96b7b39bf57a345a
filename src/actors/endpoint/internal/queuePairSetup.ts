/** Creates the local queue pairs of an endpoint, and moves them from RESET to RTS. */
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import assert from "node:assert/strict"
import type { QueuePair } from "../../../native/verbs/QueuePair.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Mtu } from "../../../schema/Mtu.ts"
import { nonceBytes } from "../../../schema/mooncake/Announcement.ts"
import type { Half } from "../Handshake.ts"
import { InvalidAttribute, ModifyFailed } from "../../../native/verbs/VerbsError.ts"
import type { Nic, Place } from "../../rdma/Nic.ts"
import type { EndpointSettings } from "./settings.ts"

/** Access for peers: all that one-sided transfers and atomic counters need. */
const access = ["local-write", "remote-write", "remote-read", "remote-atomic"] as const

/** Creates the queue pairs of one epoch. They are drained and destroyed with the Scope. */
export const makeQueuePairs = Effect.fnUntraced(function* (
  nic: Nic,
  { depth, queuePairs }: EndpointSettings
) {
  const made: Array<QueuePair> = []
  for (let index = 0; index < queuePairs; index++) {
    const queuePair = yield* nic.domain.queuePair({
      sendCompletions: nic.completions,
      sendDepth: depth,
      receiveDepth: 1
    })
    yield* queuePair.modify({ to: "init", access })
    made.push(queuePair)
  }
  return made
})

/** Random digits for a half. */
export const drawNonce: Effect.Effect<string> = Effect.map(WebCrypto.WebCrypto, (crypto) =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(nonceBytes))).toString("hex")
)

/** The local half as it is offered to the peer. */
export const halfOf = (
  { gid, lid, mtu }: Place,
  queuePairs: ReadonlyArray<QueuePair>,
  epoch: Epoch,
  nonce?: string
): Half => ({
  queuePairs: queuePairs.map(({ number }) => number),
  gid,
  lid,
  epoch,
  mtu,
  ...(nonce !== undefined && { nonce })
})

/** A key that only both ends know, unless the handshake was overheard; none with Mooncake. */
const keyOf = (local: Half, peer: Half): string | undefined =>
  local.nonce === undefined || peer.nonce === undefined
    ? undefined
    : [local.nonce, peer.nonce].toSorted().join("")

const smaller = (a: Mtu, b: Mtu | undefined): Mtu => (b !== undefined && b < a ? b : a)

/** Moves every queue pair to `rts`, connected to its counterpart by the GID that was offered. */
export const raise = Effect.fnUntraced(function* (
  { gidIndex, mtu }: Place,
  queuePairs: ReadonlyArray<QueuePair>,
  local: Half,
  peer: Half
) {
  const key = keyOf(local, peer)
  for (const [index, queuePair] of queuePairs.entries()) {
    const counterpart = peer.queuePairs[index]
    assert.ok(counterpart !== undefined, "both sides have as many queue pairs")
    yield* queuePair.modify({
      to: "rtr",
      path: { gid: peer.gid, lid: peer.lid, gidIndex },
      mtu: smaller(mtu, peer.mtu),
      peer: counterpart,
      key
    })
    yield* queuePair.modify({ to: "rts" })
  }
})

/** Whether the device refused the local GID, which shows only when the peer's is known. */
export const isOfGid = (error: unknown): boolean =>
  error instanceof ModifyFailed
    ? error.to === "rtr"
    : error instanceof InvalidAttribute && error.attribute === "gidIndex"
