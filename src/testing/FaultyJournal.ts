/**
 * A journal whose faults are drawn by the run's plan: the simulated disk.
 *
 * It wraps any journal store and lives outside of the processes that write to it, so stored events
 * survive their crashes. Each operation is counted; a fault affects the n-th of its kind.
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../actors/kernel/Journal.ts"
import { CorruptRecord, type JournalError, StorageFailed } from "../schema/JournalRecord.ts"
import type { JournalFault } from "./FaultPlan.ts"
import { withProcess } from "./internal/sim/simulatedServices.ts"
import type { SimProcess } from "./internal/sim/simProcess.ts"
import type { Simulator } from "./internal/sim/simulator.ts"

type Operation = JournalFault["operation"]

/** An operation's fault, and the error that it ends with. */
interface Struck {
  readonly simulator: Simulator
  readonly simProcess: SimProcess
  readonly fault: JournalFault | undefined
  readonly failed: (reason: "io" | "disk-full", detail: string) => StorageFailed
}

const file = "simulated disk"

/** Until when a disk is full. */
interface Disk {
  fullUntil: number
}

/** Counts an operation, notes it in the trace, and finds its fault. */
const begin = (simProcess: SimProcess, operation: Operation, what: string): Struck => {
  const { simulator } = simProcess
  const nth = simulator.count(operation, 1)
  const fault = simulator.faulty
    ? simulator.plan.find(
        (fault): fault is JournalFault =>
          fault._tag === "Journal" && fault.operation === operation && fault.nth === nth
      )
    : undefined
  // A damaged record only counts when one is read.
  if (fault !== undefined && fault.kind !== "corrupt") simulator.struck.add(fault)
  simulator.observe(`${operation} ${what}`)
  const text = `${operation} no. ${nth} ${what}`
  if (fault === undefined) simulator.recorder?.event(text, undefined, simProcess.name, "disk")
  else simulator.recorder?.fault(text, fault.kind, simProcess.name, "disk")
  const failed: Struck["failed"] = (reason, detail) =>
    new StorageFailed({ operation, reason, file, detail })
  return { simulator, simProcess, fault, failed }
}

/** Kills the process that waits for the disk. The main program is no process and goes on. */
const crash = <A>(
  { fault, simProcess, simulator }: Struck,
  otherwise: Effect.Effect<A>
): Effect.Effect<A> => {
  const restartAfter = fault?.millis ?? 0
  const at = { step: simulator.steps }
  if (!simulator.processes.has(simProcess.name)) return otherwise
  return Effect.suspend(() => {
    simulator.inject({ _tag: "Crash", process: simProcess.name, at, restartAfter })
    return Effect.never
  })
}

const write =
  (disk: Disk) =>
  <A>(
    operation: Operation,
    what: string,
    inner: Effect.Effect<A, JournalError>
  ): Effect.Effect<A, JournalError> =>
    withProcess((simProcess) =>
      Effect.suspend((): Effect.Effect<A, JournalError> => {
        const struck = begin(simProcess, operation, what)
        const { failed, fault, simulator } = struck
        if (fault?.kind === "disk-full") disk.fullUntil = simulator.now + fault.millis
        if (simulator.faulty && simulator.now < disk.fullUntil) {
          return Effect.fail(failed("disk-full", "no space left on the simulated disk"))
        }
        switch (fault?.kind) {
          case "slow":
            return Effect.delay(inner, Duration.millis(fault.millis))
          case "refused":
            return Effect.fail(failed("io", "refused before the write"))
          case "failed-after-write":
            return Effect.flatMap(inner, () => Effect.fail(failed("io", "failed after the write")))
          case "crash-after-write":
            return Effect.flatMap(inner, (answer) => crash(struck, Effect.succeed(answer)))
          case "lost-at-crash":
            return Effect.andThen(crash(struck, Effect.void), inner)
          default:
            return inner
        }
      })
    )

/** Fails a read before it starts, or delays it, if a fault says so. */
const beforeRead = ({ failed, fault }: Struck): Effect.Effect<void, StorageFailed> => {
  if (fault?.kind === "slow") return Effect.sleep(Duration.millis(fault.millis))
  if (fault?.kind === "refused") return Effect.fail(failed("io", "refused to read"))
  return Effect.void
}

const damaged = (
  { fault, simulator }: Struck,
  actor: string,
  seq: number,
  kind: "event" | "snapshot"
): Effect.Effect<never, CorruptRecord> =>
  Effect.suspend(() => {
    if (fault !== undefined) simulator.struck.add(fault)
    const detail = "a bit has flipped on the simulated disk"
    return Effect.fail(new CorruptRecord({ actor, seq, kind, file, detail }))
  })

const readStore = (store: Store): Pick<Store, "read" | "loadSnapshot"> => ({
  read: (actor, from) =>
    Stream.unwrap(
      withProcess((simProcess) =>
        Effect.suspend(() => {
          const struck = begin(simProcess, "read", actor)
          const events = store.read(actor, from)
          const answer =
            struck.fault?.kind === "corrupt"
              ? Stream.mapEffect(events, ({ seq }) => damaged(struck, actor, seq, "event"))
              : events
          return Effect.as(beforeRead(struck), answer)
        })
      )
    ),
  loadSnapshot: (actor, atMost) =>
    withProcess((simProcess) =>
      Effect.suspend(() => {
        const struck = begin(simProcess, "read", `snapshot of ${actor}`)
        const found = Effect.andThen(beforeRead(struck), store.loadSnapshot(actor, atMost))
        if (struck.fault?.kind !== "corrupt") return found
        return Effect.tap(found, (snapshot) =>
          Option.isNone(snapshot)
            ? Effect.void
            : damaged(struck, actor, snapshot.value.seq, "snapshot")
        )
      })
    )
})

/** Wraps a store. Make it in the main program, outside of the processes: it is their disk. */
export const make = (store: Store): Store => {
  const write_ = write({ fullUntil: 0 })
  return {
    ...store,
    ...readStore(store),
    claim: (actor) => write_("claim", actor, store.claim(actor)),
    append: (append) => {
      const { actor, events, expected, writer } = append
      const bodies = events.map(({ type, body }) => `${type} ${body}`).join(", ")
      return write_("append", `${actor}@${expected} by ${writer}: ${bodies}`, store.append(append))
    },
    saveSnapshot: (claim, snapshot) =>
      write_("snapshot", `${claim.actor}@${snapshot.seq}`, store.saveSnapshot(claim, snapshot)),
    prune: (claim, limits) =>
      write_("prune", `${claim.actor} to ${limits.eventsTo ?? 0}`, store.prune(claim, limits))
  }
}

/** The same as a layer over any journal layer. */
export const layer = <E, R>(inner: Layer.Layer<Journal, E, R>): Layer.Layer<Journal, E, R> =>
  Layer.effect(Journal, Effect.map(Journal, make)).pipe(Layer.provide(inner))
