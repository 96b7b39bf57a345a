/** Simulated values of the services that a program uses. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Chaos from "../../../actors/kernel/Chaos.ts"
import { Epochs } from "../../../actors/kernel/Epochs.ts"
import { Watch } from "../../../native/sim/Watch.ts"
import { EpochSource } from "../../../schema/Epoch.ts"
import type { SimProcess } from "./simProcess.ts"
import type { Prng } from "./prng.ts"
import { SeededCrypto } from "./seededCrypto.ts"
import { valueText } from "./values.ts"
import type { Simulator } from "./simulator.ts"

const integers = Number.MAX_SAFE_INTEGER - Number.MIN_SAFE_INTEGER + 1

const randomService = (prng: Prng): Random.Random => ({
  nextDoubleUnsafe: () => prng.double(),
  nextIntUnsafe: () => Math.floor(prng.double() * integers) + Number.MIN_SAFE_INTEGER
})

const logger = (simulator: Simulator<SimProcess>): Logger.Logger<unknown, void> =>
  Logger.make(({ message, logLevel, cause }) => {
    const parts = Array.isArray(message) ? message : [message]
    // Objects may hold numbers of fibers, which never repeat.
    for (const part of parts) if (typeof part !== "object") simulator.observe(String(part))
    if (simulator.recorder === undefined) return
    const text = parts.map((part) => (typeof part === "string" ? part : valueText(part)))
    const why = cause.reasons.length === 0 ? "" : ` ${String(cause)}`
    simulator.recorder.event(`${logLevel === "Info" ? "" : `${logLevel} `}${text.join(" ")}${why}`)
  })

/** Each life of a process is another instance. */
const epochsOf = (simulator: Simulator<SimProcess>): EpochSource =>
  new EpochSource(simulator.random.bits())

/**
 * Puts fabrics under the run's faults, into its trace and on its time, which is exact for devices.
 */
const watchOf = (simulator: Simulator<SimProcess>): Watch => ({
  time: { now: () => simulator.now, after: (millis, act) => simulator.after(millis, act) },
  attach: (fabric) => void simulator.fabrics.push(fabric),
  note: (text) => {
    simulator.observe(text)
    simulator.recorder?.event(text)
  }
})

/** The context of the main fiber. */
export const ambient = (
  simulator: Simulator<SimProcess>,
  chaos: Chaos.Chaos
): Context.Context<never> =>
  Context.makeUnsafe(
    new Map<string, unknown>([
      [Scheduler.Scheduler.key, simulator.main],
      [Clock.Clock.key, simulator.main.clock],
      [Random.Random.key, randomService(simulator.random)],
      [WebCrypto.WebCrypto.key, new SeededCrypto(simulator.random)],
      [Metric.MetricRegistry.key, new Map()],
      [Logger.CurrentLoggers.key, new Set([logger(simulator)])],
      [Chaos.Chaos.key, chaos],
      [Epochs.key, epochsOf(simulator)],
      [Watch.key, watchOf(simulator)],
      [CurrentProcess.key, simulator.main]
    ])
  )

/** The process that a fiber belongs to; `undefined` outside of a simulation. */
const CurrentProcess = Context.Reference<SimProcess | undefined>(
  "handfast/testing/CurrentProcess",
  {
    defaultValue: () => undefined
  }
)

/** A context in which fibers belong to another process. */
export const inHome = <R>(
  context: Context.Context<R>,
  simProcess: SimProcess
): Context.Context<R> =>
  context.pipe(
    Context.add(Scheduler.Scheduler, simProcess),
    Context.add(Clock.Clock, simProcess.clock),
    Context.add(CurrentProcess, simProcess),
    Context.add(Epochs, epochsOf(simProcess.simulator))
  )

/** Runs a function with the calling fiber's process; a defect outside of a simulation. */
export const withProcess = <A, E, R>(
  f: (simProcess: SimProcess) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const simProcess = fiber.getRef(CurrentProcess)
    return simProcess === undefined
      ? Effect.die(new Error("no simulation here: run this program with Sim.run or it.sim"))
      : f(simProcess)
  })
