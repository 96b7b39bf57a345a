/**
 * Injects faults into a running simulation, and stops them again.
 *
 * `random` draws a plan from the run's seed. Each run first draws which kinds of faults it has at
 * all: a run with one kind of fault goes deeper than one with a little of everything. A run that is
 * replayed from a saved plan uses that plan, and draws nothing.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { FaultPlan as Plan, JournalFaultKind } from "./FaultPlan.ts"
import type { Fault, FaultPlan, JournalFault, Moment } from "./FaultPlan.ts"
import {
  cutKinds,
  drawFabricFault,
  type FabricOptions,
  knownFaultKinds,
  slowKinds
} from "./internal/sim/fabricFaults.ts"
import { withProcess } from "./internal/sim/simulatedServices.ts"
import { type Known, refuseUnknown, refuseUnknownOptions } from "./internal/sim/known.ts"
import { noteMark, siteMark } from "./internal/sim/siteChaos.ts"
import { Prng } from "./internal/sim/prng.ts"
import type { Simulator } from "./internal/sim/simulator.ts"
import { WrongValue } from "./SimError.ts"

/** A process, by its handle or its name. The process must exist. */
type Target = string | { readonly name: string }

type Targets = Target | ReadonlyArray<Target>

export type { FabricOptions }

/** Which faults a run may draw. */
export interface Options {
  /** Processes that may crash; each comes back after a while. */
  readonly crash?: Targets | undefined
  readonly pause?: Targets | undefined
  /** Processes whose clock may jump or run fast or slow. */
  readonly skew?: Targets | undefined
  /**
   * Journal faults: `true` for every kind from which an actor can recover, that is all but
   * `corrupt`; or a list of kinds.
   */
  readonly journal?: boolean | ReadonlyArray<JournalFaultKind> | undefined
  /** Faults of the simulated RDMA fabrics. */
  readonly fabric?: FabricOptions | undefined
  /** Hosts whose connections are cut, in one direction or both, reset, or forgotten in between. */
  readonly cut?: Targets | undefined
  /** Hosts between which messages are late or lost at first; `true` for all processes. */
  readonly slow?: boolean | Targets | undefined
  /** Virtual time from now in which faults are injected. Default 10 seconds. */
  readonly within?: Duration.Input | undefined
  /** The most faults of each kind in a run. Default 3. */
  readonly most?: number | undefined
}

/**
 * The distance of a fault by step, as powers of two: mostly within a short run, and sometimes late
 * in a long one.
 */
const stepMagnitudes = [10, 10, 14, 17] as const

const moment = (simulator: Simulator, prng: Prng, within: number): Moment =>
  prng.chance(0.5)
    ? { step: simulator.steps + prng.byMagnitude(prng.pick(stepMagnitudes)) }
    : { millis: simulator.now + prng.below(Math.max(1, within)) }

const recoverable: ReadonlyArray<JournalFaultKind> = [
  "slow",
  "refused",
  "failed-after-write",
  "disk-full",
  "crash-after-write",
  "lost-at-crash"
]

/** The operations that a kind of journal fault can affect. */
const operationsOf = (kind: JournalFaultKind): ReadonlyArray<JournalFault["operation"]> => {
  if (kind === "corrupt") return ["read"]
  if (kind === "slow" || kind === "refused")
    return ["append", "append", "claim", "read", "snapshot"]
  return ["append"]
}

const rates = [0.5, 0.9, 0.999, 1.001, 1.1, 2] as const

type Draw = (simulator: Simulator, prng: Prng, within: number) => Fault

const isList = (targets: Targets): targets is ReadonlyArray<Target> => Array.isArray(targets)

const names = (targets: Targets = []): ReadonlyArray<string> =>
  (isList(targets) ? targets : [targets]).map((target) =>
    typeof target === "string" ? target : target.name
  )

const known: Known<Options> = {
  crash: true,
  pause: true,
  skew: true,
  journal: true,
  fabric: true,
  cut: true,
  slow: true,
  within: true,
  most: true
}

/** Throws for an option, a process or a kind of fault that does not exist. */
const refuseUnknownIn = (simulator: Simulator, options: Options): void => {
  refuseUnknownOptions("option of Faults.random", options, known)
  for (const key of ["crash", "pause", "skew", "cut"] as const) {
    refuseUnknown(`process to ${key}`, names(options[key]), simulator.processes.keys())
  }
  refuseUnknown("kind of journal fault", journalKinds(options.journal), JournalFaultKind.literals)
  refuseUnknown("kind of fabric fault", options.fabric?.kinds ?? [], knownFaultKinds)
}

/** Refuses numbers with which a run would have no fault, or one before its start. */
const refuseNoFaults = (most: number, time: Duration.Input, within: number): void => {
  if (!(Number.isSafeInteger(most) && most >= 0)) {
    throw new WrongValue({ name: "most", value: String(most), allowed: "a whole number from 0" })
  }
  // Effect takes NaN for no time.
  if (!(within > 0)) {
    throw new WrongValue({ name: "within", value: String(time), allowed: "a time above 0" })
  }
}

const journalKinds = (journal: Options["journal"]): ReadonlyArray<JournalFaultKind> =>
  journal === true ? recoverable : journal === false ? [] : (journal ?? [])

/** One drawing function for each kind of fault that is allowed; `processes` are all there are. */
const drawers = (options: Options, processes: ReadonlyArray<string>): ReadonlyArray<Draw> => {
  const draws: Array<Draw> = []
  const forProcesses = (processes: Targets | undefined, draw: (process: string) => Draw) => {
    const list = names(processes)
    if (list.length > 0)
      draws.push((simulator, prng, within) => draw(prng.pick(list))(simulator, prng, within))
  }
  forProcesses(options.crash, (process) => (simulator, prng, within) => {
    const restartAfter = prng.byMagnitude(Math.log2(1 + within / 4))
    return { _tag: "Crash", process, at: moment(simulator, prng, within), restartAfter }
  })
  forProcesses(options.pause, (process) => (simulator, prng, within) => {
    const forMillis = 1 + prng.byMagnitude(Math.log2(1 + within))
    return { _tag: "Pause", process, at: moment(simulator, prng, within), forMillis }
  })
  forProcesses(options.skew, (process) => (simulator, prng, within) => {
    const jumpMillis = prng.byMagnitude(20) * (prng.chance(0.5) ? 1 : -1)
    const rate = prng.chance(0.5) ? 1 : prng.pick(rates)
    return { _tag: "Skew", process, at: moment(simulator, prng, within), jumpMillis, rate }
  })
  const kinds = journalKinds(options.journal)
  if (kinds.length > 0) {
    draws.push((simulator, prng, within) => {
      const kind = prng.pick(kinds)
      const operation = prng.pick(operationsOf(kind))
      const nth = simulator.count(operation) + 1 + prng.byMagnitude(5)
      return {
        _tag: "Journal",
        operation,
        nth,
        kind,
        millis: 1 + prng.byMagnitude(Math.log2(1 + within))
      }
    })
  }
  const { cut, fabric, slow } = options
  const slowed = slow === true ? processes : slow === false ? [] : names(slow)
  const fabrics: ReadonlyArray<FabricOptions> = [
    ...(fabric === undefined ? [] : [fabric]),
    { nodes: names(cut), kinds: cutKinds },
    { nodes: slowed, kinds: slowKinds }
  ]
  for (const fabric of fabrics) {
    if (fabric.nodes.length === 0) continue
    draws.push((simulator, prng, within) => {
      const fault = drawFabricFault(prng, fabric, within)
      return { _tag: "Fabric", at: moment(simulator, prng, within), fault }
    })
  }
  return draws
}

/** A repetition from a plan could not distinguish them from stopped ones. */
const refuseHealed = (simulator: Simulator): void => {
  if (!simulator.faulty)
    throw new Error("Faults.heal has stopped all faults of this run: no more can be added")
}

const add = (simulator: Simulator, faults: FaultPlan): void => {
  for (const fault of faults) {
    simulator.plan.push(fault)
    simulator.scheduleFault(fault)
  }
}

/**
 * Draws faults for this run, from now on. Returns the drawn plan. Its processes must have been made
 * before: an unknown name is a defect, `UnknownName`.
 */
export const random = (options: Options): Effect.Effect<FaultPlan> =>
  withProcess(({ simulator }) =>
    Effect.sync(() => {
      refuseUnknownIn(simulator, options)
      refuseHealed(simulator)
      if (simulator.planGiven) return simulator.plan
      const { most = 3, within: time = "10 seconds" } = options
      const within = Duration.toMillis(Duration.fromInputUnsafe(time))
      refuseNoFaults(most, time, within)
      const prng = new Prng(simulator.seed, `faults ${simulator.count("Faults.random", 1)}`)
      const drawn: Array<Fault> = []
      for (const draw of drawers(options, [...simulator.processes.keys()])) {
        if (!prng.chance(0.5)) continue
        const count = Math.min(most, prng.between(1, Math.max(1, most)))
        for (let i = 0; i < count; i++) drawn.push(draw(simulator, prng, within))
      }
      add(simulator, drawn)
      return drawn
    })
  )

/**
 * Adds faults that were written by hand. They are shrunk like drawn ones. An unknown fault is a
 * defect, as is one after `heal`. A chaos site that no run passes is a missed mark.
 */
export const install = (plan: FaultPlan): Effect.Effect<void> =>
  withProcess(({ simulator }) =>
    Effect.sync(() => {
      Schema.decodeUnknownSync(Plan)(plan)
      refuseHealed(simulator)
      const targets = plan.flatMap((fault) => ("process" in fault ? [fault.process] : []))
      refuseUnknown("process", targets, simulator.processes.keys())
      for (const fault of plan) {
        if (fault._tag === "Site") noteMark(simulator.marks, siteMark(fault.name), false)
      }
      if (!simulator.planGiven) add(simulator, plan)
    })
  )

/**
 * Stops all faults: pending ones are dropped, paused processes resume, crashed ones start again,
 * clocks are set right, disks and chaos sites are quiet. From here on progress can be demanded, see
 * `Sim.eventually`. No more faults can be added.
 */
export const heal: Effect.Effect<void> = withProcess(({ simulator }) =>
  Effect.sync(() => {
    simulator.faulty = false
    simulator.faults.clear()
    simulator.recorder?.event("all faults stop")
    for (const fabric of simulator.fabrics) fabric.heal()
    for (const process of simulator.processes.values()) process.heal()
  })
)
