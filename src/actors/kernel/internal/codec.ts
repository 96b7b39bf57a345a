/** Events and snapshots as JSON text, in the version of the behavior that wrote them. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { NewEvent, StoredEvent, StoredSnapshot } from "../../../schema/JournalRecord.ts"
import { HistoryRefused } from "../ActorError.ts"
import type { Tagged, Upcast } from "../Behavior.ts"

export interface EventCodec {
  readonly version: number
  /** Throws when the schema refuses the event: it was decided, so that is a defect. */
  readonly encode: (event: Tagged, at: number) => NewEvent
  readonly decode: (stored: StoredEvent) => Exit.Exit<Tagged, HistoryRefused>
}

export interface SnapshotCodec {
  readonly version: number
  readonly encode: (state: unknown) => string
  readonly decode: (stored: StoredSnapshot) => Exit.Exit<unknown, HistoryRefused>
}

const noTags: ReadonlyArray<string> = []

const parse = (body: string): unknown => JSON.parse(body)

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
      if (stored.version > version) return refuse(`this behavior knows versions up to ${version}`)
      try {
        let body = parse(stored.body)
        for (const upcast of upcasts.slice(stored.version - 1)) {
          body = upcast(body as Record<string, unknown>)
        }
        const exit = decode(body)
        return Exit.isSuccess(exit) ? Exit.succeed(exit.value) : refuse(Cause.pretty(exit.cause))
      } catch (defect) {
        return refuse(String(defect))
      }
    }
  }
}

export const makeSnapshotCodec = (
  state: Schema.Codec<unknown, unknown>,
  version: number
): SnapshotCodec => {
  const json = Schema.toCodecJson(state)
  const encode = Schema.encodeSync(json)
  const decode = Schema.decodeUnknownExit(json)
  return {
    version,
    encode: (state) => JSON.stringify(encode(state)),
    decode: (stored) => {
      const refuse = (detail: string) => {
        const { actor, seq, version } = stored
        return Exit.fail(new HistoryRefused({ actor, seq, type: "snapshot", version, detail }))
      }
      if (stored.version !== version) return refuse(`this behavior reads version ${version}`)
      try {
        const exit = decode(parse(stored.body))
        return Exit.isSuccess(exit) ? Exit.succeed(exit.value) : refuse(Cause.pretty(exit.cause))
      } catch (defect) {
        return refuse(String(defect))
      }
    }
  }
}
