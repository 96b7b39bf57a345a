/**
 * Reads the journals of both processes, without knowledge of the run: has every accepted transfer
 * ended, once; and did a process send before its peer was ready?
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Endpoint from "../../actors/endpoint/EndpointEvent.ts"
import * as Transfers from "../../actors/transfer/Transfers.ts"
import { Journal } from "../../actors/kernel/Journal.ts"
import type { Epoch } from "../../schema/Epoch.ts"

/** One epoch of an endpoint. */
interface Generation {
  readonly epoch: Epoch
  /** The peer's epoch, once it is known. */
  peer: Epoch | undefined
  /** When the local half was up, and when the gate was open. */
  upAt: number | undefined
  readyAt: number | undefined
  /** Whether it ended because work on it failed. */
  isLost: boolean
  /** Whether its process was killed: its last events may not be stored. */
  isCut: boolean
}

export interface Found {
  readonly accepted: number
  readonly ended: number
  readonly failed: number
  readonly twice: number
  /** Events of transfers that were deleted before this was read. */
  readonly unseen: number
  readonly generations: ReadonlyArray<Generation>
}

const decodeEndpoint = Schema.decodeUnknownEffect(Schema.toCodecJson(Endpoint.EndpointEvent))
const decodeTransfer = Schema.decodeUnknownEffect(
  Schema.toCodecJson(Schema.Union([Transfers.Accepted, Transfers.Ended]))
)

const transfersOf = Effect.fnUntraced(function* () {
  const journal = yield* Journal
  const accepted = new Set<string>()
  const ended = new Map<string, number>()
  let failed = 0
  let unseen: number | undefined
  yield* Stream.runForEach(journal.read("Transfers/transfers"), ({ body, seq, type }) =>
    Effect.map(decodeTransfer({ ...JSON.parse(body), _tag: type }), (event) => {
      // Sequence numbers begin at 1, and deletion keeps them.
      unseen ??= seq - 1
      if (event._tag === "Accepted") accepted.add(event.id)
      else {
        ended.set(event.id, (ended.get(event.id) ?? 0) + 1)
        if (event.outcome._tag === "Failed") failed += 1
      }
    })
  )
  const twice = [...ended.values()].filter((count) => count > 1).length
  return { accepted: accepted.size, ended: ended.size, failed, twice, unseen: unseen ?? 0 }
})

const generationsOf = Effect.fnUntraced(function* (id: string) {
  const journal = yield* Journal
  const generations: Array<Generation> = []
  yield* Stream.runForEach(journal.read(`Endpoint/${id}`), ({ at, body, type }) =>
    Effect.map(decodeEndpoint({ ...JSON.parse(body), _tag: type }), (event) => {
      const current = generations.at(-1)
      if (event._tag === "EpochBegan" || event._tag === "GidRefused") {
        const peer = event.offer?.half.epoch
        const unknown = { upAt: undefined, readyAt: undefined, isLost: false, isCut: false }
        generations.push({ epoch: event.epoch, peer, ...unknown })
      } else if (current === undefined) return
      else if (event._tag === "OfferCrossed" || event._tag === "OfferExchanged") {
        current.peer = event.offer.half.epoch
      } else if (event._tag === "Connected") {
        current.upAt = at
        if (event.key !== undefined) current.readyAt = at
      } else if (event._tag === "BecameReady") current.readyAt = at
      else if (event._tag === "EpochEnded") {
        current.isLost = event.reason === "broken"
        current.isCut = event.reason === "restarted"
      }
    })
  )
  return generations
})

/** Reads one process's journal, and in it the history of the endpoint of that id. */
export const read = (file: string, id: string): Effect.Effect<Found, unknown> =>
  Effect.all([transfersOf(), generationsOf(id)]).pipe(
    Effect.map(([transfers, generations]) => ({ ...transfers, generations })),
    Effect.provide(Journal.layerSqlite({ file }))
  )

/** Epochs of one side that could send before the other side's half was up. */
export const earlyOf = (
  local: ReadonlyArray<Generation>,
  peers: ReadonlyArray<Generation>
): ReadonlyArray<Generation> =>
  local.filter(({ peer, readyAt }) => {
    const other = peers.find(({ epoch }) => epoch === peer)
    if (readyAt === undefined || other === undefined) return false
    return other.upAt === undefined ? !other.isCut : readyAt < other.upAt
  })
