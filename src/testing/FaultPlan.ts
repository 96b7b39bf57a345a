/**
 * The faults of a run and their moments: a plain value.
 *
 * A plan is drawn from the run's seed, each run with a different mix; it can be shrunk, printed,
 * saved as JSON beside a test and replayed. Times are virtual. A moment is either a virtual time or
 * a step of the run, so a process can be killed between any two steps.
 */
import * as Schema from "effect/Schema"
import { describe as describeFabric, FabricFault } from "../native/sim/FabricFault.ts"

/** When a fault is injected: before a step of the run, or at a virtual time. */
export const Moment = Schema.Union([
  Schema.Struct({ step: Schema.Int }),
  Schema.Struct({ millis: Schema.Finite })
])

export type Moment = typeof Moment.Type

/**
 * Kills a process as `kill -9` does; with `restartAfter` it starts again after that many
 * milliseconds.
 */
export const Crash = Schema.TaggedStruct("Crash", {
  process: Schema.String,
  at: Moment,
  restartAfter: Schema.optionalKey(Schema.Finite)
})

/** Stops a process for a while, as a long garbage collection or SIGSTOP does. */
export const Pause = Schema.TaggedStruct("Pause", {
  process: Schema.String,
  at: Moment,
  forMillis: Schema.Finite
})

/** Moves a process's wall clock by `jumpMillis`, and lets all its clocks run at `rate`. */
export const Skew = Schema.TaggedStruct("Skew", {
  process: Schema.String,
  at: Moment,
  jumpMillis: Schema.Finite,
  rate: Schema.Finite.check(Schema.isGreaterThan(0))
})

/**
 * Faults of a journal. `slow` answers late; `refused` fails before the write and
 * `failed-after-write` after it; from a `disk-full` on every write fails for a while; `corrupt`
 * fails a read with a damaged record; `crash-after-write` kills the writing process between the
 * write and its acknowledgement; `lost-at-crash` kills it before the write is stored.
 */
export const JournalFaultKind = Schema.Literals([
  "slow",
  "refused",
  "failed-after-write",
  "disk-full",
  "corrupt",
  "crash-after-write",
  "lost-at-crash"
])

export type JournalFaultKind = typeof JournalFaultKind.Type

/** Affects the `nth` (from 1) operation of its kind on the simulated disk. */
export const JournalFault = Schema.TaggedStruct("Journal", {
  operation: Schema.Literals(["claim", "append", "read", "snapshot", "prune"]),
  nth: Schema.Int,
  kind: JournalFaultKind,
  /** The delay of `slow`, the length of `disk-full`, the restart after a crash. */
  millis: Schema.Finite
})

export type JournalFault = typeof JournalFault.Type

/** A fault of the simulated RDMA fabrics of the program, or of their hosts' TCP. */
export const Fabric = Schema.TaggedStruct("Fabric", { at: Moment, fault: FabricFault })

/** A `Chaos.site` that is active in this run. */
export const Site = Schema.TaggedStruct("Site", { name: Schema.String })

/** Every kind of fault. */
export const Fault = Schema.Union([Crash, Pause, Skew, JournalFault, Fabric, Site])

export type Fault = typeof Fault.Type

export type ProcessFault = Extract<Fault, { readonly process: string }>

/** A fault with a moment. */
export type TimedFault = Extract<Fault, { readonly at: Moment }>

/** The faults of one run. */
export const FaultPlan = Schema.Array(Fault)

export type FaultPlan = typeof FaultPlan.Type

const moment = (at: Moment): string =>
  "step" in at ? `at step ${at.step}` : `at ${Number(at.millis.toFixed(3))} ms`

/** Describes when a crashed process starts again. */
export const again = (restartAfter: number | undefined): string =>
  restartAfter === undefined ? "for good" : `back after ${restartAfter} ms`

/** Describes a fault in one line. */
export const describe = (fault: Fault): string => {
  switch (fault._tag) {
    case "Crash":
      return `crash ${fault.process} ${moment(fault.at)}, ${again(fault.restartAfter)}`
    case "Pause":
      return `pause ${fault.process} ${moment(fault.at)} for ${fault.forMillis} ms`
    case "Skew":
      return (
        `skew ${fault.process} ${moment(fault.at)}: ` +
        `clock ${fault.jumpMillis < 0 ? "" : "+"}${fault.jumpMillis} ms, rate ${fault.rate}`
      )
    case "Journal":
      return `journal ${fault.operation} no. ${fault.nth}: ${fault.kind} (${fault.millis} ms)`
    case "Fabric": {
      const lasts = "forMillis" in fault.fault ? ` for ${fault.fault.forMillis} ms` : ""
      return `${describeFabric(fault.fault)} ${moment(fault.at)}${lasts}`
    }
    case "Site":
      return `chaos at "${fault.name}"`
  }
}
