/** Events and snapshots as JSON text, in the version of the behavior that wrote them. */
import assert from "node:assert/strict"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { NewEvent, StoredEvent, StoredSnapshot } from "../../../schema/JournalRecord.ts"
import { HistoryRefused } from "../ActorError.ts"
import type { Upcast } from "./snapshotPolicy.ts"
import type { Tagged } from "./spec.ts"
import { describe, explain } from "./logging.ts"

export interface EventCodec {
  readonly version: number
  /** Throws when the schema refuses the event: it was decided, so that is a defect. */
  readonly encode: (event: Tagged, at: number) => NewEvent
  readonly decode: (stored: StoredEvent) => Exit.Exit<Tagged, HistoryRefused>
}

export interface SnapshotCodec {
  /** The version of new snapshots, and the oldest one that upcasts start from. */
  readonly version: number
  readonly oldest: number
  readonly encode: (state: unknown) => string
  readonly decode: (stored: StoredSnapshot) => Exit.Exit<unknown, HistoryRefused>
}

const noTags: ReadonlyArray<string> = []

/** Parses a stored body and applies the upcasts from the first that it needs. */
const upcastFrom = (first: number, upcasts: ReadonlyArray<Upcast>, stored: string): unknown => {
  let body: unknown = JSON.parse(stored)
  for (const upcast of upcasts.slice(first)) body = upcast(body as Record<string, unknown>)
  return body
}

export const makeEventCodec = (
  events: Schema.Codec<Tagged, unknown>,
  upcasts: ReadonlyArray<Upcast>,
  tags: ((event: Tagged) => ReadonlyArray<string>) | undefined
): EventCodec => {
  const json = Schema.toCodecJson(events)
  const encode = Schema.encodeSync(json)
  const decode = Schema.decodeUnknownExit(json)
  const version = upcasts.length + 1
  return {
    version,
    encode: (event, at) => ({
      type: event._tag,
      version,
      body: JSON.stringify(encode(event)),
      at,
      tags: tags === undefined ? noTags : tags(event)
    }),
    decode: (stored) => {
      const refuse = (detail: string) => {
        const { actor, seq, type, version } = stored
        return Exit.fail(new HistoryRefused({ actor, seq, type, version, detail }))
      }
      if (stored.version > version) {
        return refuse(
          `this behavior knows versions up to ${version}: start the version of the program that ` +
            "stored it, or bring a copy of the journal back with `Journal.rewriteSqlite`"
        )
      }
      try {
        const exit = decode(upcastFrom(stored.version - 1, upcasts, stored.body))
        return Exit.isSuccess(exit) ? Exit.succeed(exit.value) : refuse(explain(exit.cause))
      } catch (defect) {
        return refuse(describe(Cause.die(defect)))
      }
    }
  }
}

export const makeSnapshotCodec = (
  state: Schema.Codec<unknown, unknown>,
  version: number,
  upcasts: ReadonlyArray<Upcast>
): SnapshotCodec => {
  const oldest = version - upcasts.length
  assert(oldest >= 1, `snapshot version ${version} has ${upcasts.length} upcasts`)
  const json = Schema.toCodecJson(state)
  const encode = Schema.encodeSync(json)
  const decode = Schema.decodeUnknownExit(json)
  return {
    version,
    oldest,
    encode: (state) => JSON.stringify(encode(state)),
    decode: (stored) => {
      const refuse = (detail: string) => {
        const { actor, seq, version } = stored
        return Exit.fail(new HistoryRefused({ actor, seq, type: "snapshot", version, detail }))
      }
      if (stored.version < oldest || stored.version > version) {
        return refuse(`this behavior reads snapshots of versions ${oldest} to ${version}`)
      }
      try {
        const exit = decode(upcastFrom(stored.version - oldest, upcasts, stored.body))
        return Exit.isSuccess(exit) ? Exit.succeed(exit.value) : refuse(explain(exit.cause))
      } catch (defect) {
        return refuse(describe(Cause.die(defect)))
      }
    }
  }
}
