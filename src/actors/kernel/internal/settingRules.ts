/**
 * The ranges of the kernel's settings. Outside of them an actor would hang, a supervisor would
 * restart without an end, or a history would seem to be empty. They are written by the programmer
 * and not by a caller, so a wrong one is a defect.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { SettingsRefused } from "../../../native/io/PoolError.ts"
import {
  brokenIn,
  millis,
  orInfinity,
  type Range,
  whole
} from "../../../native/io/settingRanges.ts"

/** The milliseconds of a duration; NaN, which is in no range, for a value that is none. */
export const millisOf = (input: Duration.Input): number =>
  typeof input === "number" && Number.isNaN(input)
    ? input
    : Option.match(Duration.fromInput(input), {
        onNone: () => Number.NaN,
        onSome: Duration.toMillis
      })

const fromOne = orInfinity(whole(1))

const ranges = {
  limits: {
    mailbox: fromOne,
    stash: fromOne,
    waiting: fromOne,
    batch: fromOne,
    unwritten: fromOne,
    watch: fromOne
  },
  snapshot: { version: whole(1), every: fromOne, keep: fromOne },
  behavior: { passivateAfter: millis(0) },
  supervisor: {
    "restarts.max": orInfinity(whole(0)),
    // A window without a length holds no restart, so none would be the last.
    "restarts.within": { rule: "a number of milliseconds above 0", holds: (value) => value > 0 },
    journalOutage: millis(0)
  },
  sqlite: {
    queueAppends: whole(1),
    queueBytes: whole(1),
    bodyBytes: whole(1),
    replayEvents: whole(1),
    replayBytes: whole(1),
    cacheBytes: whole(1),
    cachedActors: whole(1),
    unindexedEvents: whole(1),
    closeWithin: millis(0)
  },
  process: { MaxRecoveries: fromOne }
} satisfies Readonly<Record<string, Readonly<Record<string, Range>>>>

type Kind = keyof typeof ranges

/** The value of each setting of a kind; a missing one has its default. */
type Values<K extends Kind> = { readonly [Setting in keyof (typeof ranges)[K]]?: number }

/** Throws `SettingsRefused` for the first setting out of its range; `place` precedes its name. */
export const assertSettings = <K extends Kind>(kind: K, values: Values<K>, place = ""): void => {
  const broken = brokenIn(values, ranges[kind])
  if (broken === undefined) return
  throw new SettingsRefused({ ...broken, setting: place + broken.setting })
}
