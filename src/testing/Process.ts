/**
 * A simulated operating-system process: an effect whose life can end as by `kill -9`.
 *
 * A crash drops every task and timer of the process at once. No finalizer runs; everything outside
 * of the process (a simulated disk, other processes) stays. A restart runs the effect anew, with
 * nothing left in memory. Each process has a separate view of the clock, which a fault can move.
 *
 * The state of a process must be made inside its effect: a queue or a latch that two processes
 * share is memory that no two real processes have.
 */

import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { again, type ProcessFault } from "./FaultPlan.ts"
import { inHome, withProcess } from "./internal/sim/simulatedServices.ts"
import { SimProcess } from "./internal/sim/simProcess.ts"
import { refuseUnknown, refuseUnknownOptions } from "./internal/sim/known.ts"
import type { Simulator } from "./internal/sim/simulator.ts"
import type { Controls } from "./internal/sim/task.ts"
import { ProcessFailed } from "./SimError.ts"

/** The handle of a process. */
export interface Process<out A, out E> {
  readonly name: string
  /** Kills it at once, without finalizers. */
  readonly crash: Effect.Effect<void>
  /** Crashes it if it runs, and runs its effect anew. */
  readonly restart: Effect.Effect<void>
  /** Stops it where it is. Its timers continue and are late when it resumes. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Moves its wall clock, and lets its clocks run at `rate`. A restart sets them right. */
  readonly skew: (options: {
    readonly jump?: Duration.Input
    readonly rate?: number
  }) => Effect.Effect<void>
  readonly isRunning: Effect.Effect<boolean>
  /** The number of its starts. */
  readonly starts: Effect.Effect<number>
  /** Waits until its effect ends by itself. A crash is no such end. */
  readonly exit: Effect.Effect<Exit.Exit<A, E>>
}

/**
 * Whether a failure of a process's effect fails the run. It does, unless the options say that the
 * process stays down or is restarted.
 */
export interface Options {
  readonly onFailure?: "fail-run" | "stay-down" | { readonly restartAfter: Duration.Input }
}

class Controller<A, E, R> implements Controls {
  readonly name: string
  readonly simulator: Simulator<SimProcess>
  readonly exit = Deferred.makeUnsafe<Exit.Exit<A, E>>()
  starts = 0
  #pauses = 0
  readonly #effect: Effect.Effect<A, E, R>
  readonly #context: Context.Context<R>
  readonly #onFailure: Options["onFailure"]
  #simProcess: SimProcess | undefined = undefined
  /** True between a crash and the restart; false after a normal exit. */
  #isDown = false

  constructor(
    simulator: Simulator<SimProcess>,
    name: string,
    program: { readonly effect: Effect.Effect<A, E, R>; readonly context: Context.Context<R> },
    options: Options
  ) {
    this.simulator = simulator
    this.name = name
    this.#effect = program.effect
    this.#context = program.context
    this.#onFailure = options.onFailure
  }

  start(): void {
    if (this.#simProcess !== undefined) return
    const simProcess = new SimProcess(this.simulator, this.name)
    this.#simProcess = simProcess
    this.#isDown = false
    this.starts++
    this.#note("starts")
    const fiber = simProcess.begin(() =>
      Effect.runForkWith(inHome(this.#context, simProcess))(this.#effect)
    )
    fiber.addObserver((exit) => {
      if (this.#simProcess === simProcess && !this.simulator.closed) this.#ended(simProcess, exit)
    })
  }

  crash(how = "crashes"): void {
    if (this.#simProcess === undefined) return
    this.#note(how)
    this.#isDown = true
    this.#simProcess.kill()
    this.#simProcess = undefined
    for (const fabric of this.simulator.fabrics) fabric.crash(this.name)
  }

  pause(how = "pauses"): void {
    this.#note(how)
    this.#pauses++
    this.#simProcess?.pause()
  }

  resume(): void {
    if (!this.isPaused()) return
    this.#note("resumes")
    this.#simProcess?.resume()
  }

  skew(jumpMillis: number, rate: number): void {
    this.#note(`clock jumps ${jumpMillis} ms, rate ${rate}`)
    this.#simProcess?.clock.skew(jumpMillis, rate)
  }

  inject(fault: ProcessFault): boolean {
    if (!this.isRunning() || (fault._tag === "Pause" && this.isPaused())) return false
    switch (fault._tag) {
      case "Crash":
        this.crash(`crashes (${again(fault.restartAfter)})`)
        if (fault.restartAfter !== undefined) this.#restartAfter(fault.restartAfter)
        break
      case "Pause": {
        this.pause(`pauses for ${fault.forMillis} ms`)
        const pauses = this.#pauses
        this.simulator.after(fault.forMillis, () => {
          if (this.#pauses === pauses) this.resume()
        })
        break
      }
      case "Skew":
        this.skew(fault.jumpMillis, fault.rate)
    }
    return true
  }

  /** Starts it again, unless it was started since. */
  #restartAfter(millis: number): void {
    const { starts } = this
    this.simulator.after(millis, () => {
      if (this.starts === starts) this.start()
    })
  }

  heal(): void {
    this.resume()
    this.#simProcess?.clock.heal()
    if (this.#isDown) this.start()
  }

  isPaused(): boolean {
    return this.#simProcess?.isPaused === true
  }

  isRunning(): boolean {
    return this.#simProcess !== undefined
  }

  #ended(simProcess: SimProcess, exit: Exit.Exit<A, E>): void {
    simProcess.kill()
    this.#simProcess = undefined
    const failed = exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)
    const onFailure = this.#onFailure ?? "fail-run"
    this.#note(failed ? "exits with a failure" : "exits")
    if (failed && onFailure === "fail-run") {
      this.simulator.fail(
        new ProcessFailed({ process: this.name, cause: Cause.squash(exit.cause) })
      )
    } else if (failed && typeof onFailure === "object") {
      this.#isDown = true
      this.#restartAfter(Duration.toMillis(Duration.fromInputUnsafe(onFailure.restartAfter)))
    } else {
      Deferred.doneUnsafe(this.exit, Effect.succeed(exit))
    }
  }

  #note(text: string): void {
    this.simulator.recorder?.simulator(this.name, text, this.simulator.now)
  }
}

/** Starts a process. Its effect is run with the caller's services, and again at each restart. */
export const make = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  options: Options = {}
): Effect.Effect<Process<A, E>, never, Exclude<R, Scope.Scope>> =>
  withProcess(({ simulator }) =>
    Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) => {
      if (name === "main" || simulator.processes.has(name)) {
        return Effect.die(new Error(`a process named ${name} exists already`))
      }
      refuseUnknownOptions("option of a process", options, { onFailure: true })
      if (typeof options.onFailure === "string") {
        refuseUnknown("way to take a failure", [options.onFailure], ["fail-run", "stay-down"])
      }
      const program = { effect: Effect.scoped(effect), context }
      const controller = new Controller(simulator, name, program, options)
      simulator.processes.set(name, controller)
      controller.start()
      return Effect.succeed(handle(controller))
    })
  )

const handle = <A, E, R>(controller: Controller<A, E, R>): Process<A, E> => ({
  name: controller.name,
  crash: Effect.sync(() => controller.crash()),
  restart: Effect.sync(() => {
    controller.crash()
    controller.start()
  }),
  pause: Effect.sync(() => controller.pause()),
  resume: Effect.sync(() => controller.resume()),
  skew: ({ jump = 0, rate = 1 }) =>
    Effect.sync(() => controller.skew(Duration.toMillis(Duration.fromInputUnsafe(jump)), rate)),
  isRunning: Effect.sync(() => controller.isRunning()),
  starts: Effect.sync(() => controller.starts),
  exit: Deferred.await(controller.exit)
})
