/** What a program takes from its surroundings, with the simulated value for each. */
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
import type { Home } from "./simProcess.ts"
import type { Prng } from "./prng.ts"
import { SeededCrypto } from "./seededCrypto.ts"
import { valueText } from "./values.ts"
import type { World } from "./simulator.ts"

const integers = Number.MAX_SAFE_INTEGER - Number.MIN_SAFE_INTEGER + 1

const randomService = (prng: Prng): Random.Random => ({
  nextDoubleUnsafe: () => prng.double(),
  nextIntUnsafe: () => Math.floor(prng.double() * integers) + Number.MIN_SAFE_INTEGER
})

const logger = (world: World): Logger.Logger<unknown, void> =>
  Logger.make(({ message, logLevel, cause }) => {
    const parts = Array.isArray(message) ? message : [message]
    // Objects may hold numbers of fibers, which never repeat.
    for (const part of parts) if (typeof part !== "object") world.observe(String(part))
    if (world.recorder === undefined) return
    const text = parts.map((part) => (typeof part === "string" ? part : valueText(part)))
    const why = cause.reasons.length === 0 ? "" : ` ${String(cause)}`
    world.recorder.event(`${logLevel === "Info" ? "" : `${logLevel} `}${text.join(" ")}${why}`)
  })

/** Each life of a process is an instance of its own. */
const epochsOf = (world: World): EpochSource => new EpochSource(world.random.bits())

/** Fabrics are under the run's faults, in its trace and on its time, which is exact for devices. */
const watchOf = (world: World): Watch => ({
  time: { now: () => world.now, after: (millis, act) => world.after(millis, act) },
  attach: (fabric) => void world.fabrics.push(fabric),
  note: (text) => {
    world.observe(text)
    world.recorder?.event(text)
  }
})

/** The context of the main fiber. */
export const ambient = (world: World, chaos: Chaos.Chaos): Context.Context<never> =>
  Context.makeUnsafe(
    new Map<string, unknown>([
      [Scheduler.Scheduler.key, world.main],
      [Clock.Clock.key, world.main.clock],
      [Random.Random.key, randomService(world.random)],
      [WebCrypto.WebCrypto.key, new SeededCrypto(world.random)],
      [Metric.MetricRegistry.key, new Map()],
      [Logger.CurrentLoggers.key, new Set([logger(world)])],
      [Chaos.Chaos.key, chaos],
      [Epochs.key, epochsOf(world)],
      [Watch.key, watchOf(world)],
      [CurrentHome.key, world.main]
    ])
  )

/** The process that a fiber belongs to; `undefined` outside of a simulation. */
const CurrentHome = Context.Reference<Home | undefined>("handfast/testing/CurrentHome", {
  defaultValue: () => undefined
})

/** A context in which fibers belong to another process. */
export const inHome = <R>(context: Context.Context<R>, home: Home): Context.Context<R> =>
  context.pipe(
    Context.add(Scheduler.Scheduler, home),
    Context.add(Clock.Clock, home.clock),
    Context.add(CurrentHome, home),
    Context.add(Epochs, epochsOf(home.world))
  )

/** Runs a function with the calling fiber's process; a defect outside of a simulation. */
export const withHome = <A, E, R>(
  f: (home: Home) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const home = fiber.getRef(CurrentHome)
    return home === undefined
      ? Effect.die(new Error("no simulation here: run this program with Sim.run or it.sim"))
      : f(home)
  })
