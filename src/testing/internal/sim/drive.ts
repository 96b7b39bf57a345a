/**
 * Drives a simulator until it is closed.
 *
 * Before time jumps, pending work outside of Effect gets turns of the event loop until all of it is
 * done, so that an awaited promise takes no virtual time.
 */
import { writeSync } from "node:fs"
import { Deadlock } from "../../SimError.ts"
import { Outside } from "./outside.ts"
import { realImmediate, realNow } from "./traps.ts"
import type { Simulator } from "./simulator.ts"

/** Turns of the event loop before an idle run without timers is called a deadlock. */
const idleTurns = 2

const deadlock = (simulator: Simulator): Deadlock => {
  const paused = [...simulator.processes].filter(([, process]) => process.isPaused())
  return new Deadlock({
    step: simulator.steps,
    millis: simulator.now,
    paused: paused.map(([name]) => name),
    waiting: simulator.recorder?.waiting() ?? []
  })
}

/** Runs all runnable tasks, as `Simulator.advance` does. Errors made in it have no stack. */
const advanceWithoutStacks = (simulator: Simulator): ReturnType<Simulator["advance"]> => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return simulator.advance()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/**
 * Ends the process: a loop of microtasks lets no event loop turn, so no report can be made and no
 * test runner can time out. `process.exit` is replaced by test runners.
 */
const giveUp = ({ limits, seed, steps }: Simulator): void => {
  const run = `seed 0x${seed.toString(16)}, step ${steps}`
  const time = `the event loop has not turned for ${limits.maxRealMillis} ms (maxRealTime)`
  writeSync(2, `${run}: promises or microtasks follow each other without an end; ${time}\n`)
  process.kill(process.pid, "SIGKILL")
}

/** Starts a program in its simulator, and calls `onEnd` once, when the simulator is closed. */
export const drive = (
  simulator: Simulator,
  stacks: boolean,
  begin: () => void,
  onEnd: () => void
): void => {
  const { maxRealMillis } = simulator.limits
  const deadline = realNow() + maxRealMillis
  let turnedAt = realNow()
  const outside = new Outside(() => {
    if (realNow() - turnedAt > maxRealMillis) giveUp(simulator)
  })
  let idle = 0
  const turn = (): void => {
    simulator.arrivals.hold()
    realImmediate(settle)
    outside.stirred = false
  }
  const end = (): void => {
    outside.close()
    onEnd()
  }
  const settle = (): void => {
    turnedAt = realNow()
    outside.turned()
    if (simulator.closed) return end()
    if (realNow() > deadline) {
      simulator.fail(simulator.limitReached("maxRealTime"))
      return end()
    }
    if (outside.stirred || outside.isWorking) return turn()
    simulator.arrivals.admit()
    pump()
  }
  const pump = (): void => {
    for (;;) {
      const { steps } = simulator
      const state = stacks ? simulator.advance() : advanceWithoutStacks(simulator)
      if (state === "closed") return end()
      if (state === "due") return turn()
      if (simulator.steps !== steps) idle = 0
      if (outside.stirred || outside.isWorking) return turn()
      if (simulator.jump()) continue
      if (idle++ < idleTurns) return turn()
      simulator.fail(deadlock(simulator))
    }
  }
  outside.run(() => {
    begin()
    pump()
  })
}
