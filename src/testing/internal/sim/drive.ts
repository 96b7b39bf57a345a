/**
 * Drives a world until it is closed.
 *
 * Before time jumps, what the program has under way outside of Effect gets turns of the event loop
 * until all of it is done, so that an awaited promise takes no virtual time.
 */
import { Deadlock } from "../../SimError.ts"
import { Outside } from "./outside.ts"
import { realImmediate, realNow } from "./traps.ts"
import type { World } from "./simulator.ts"

/** Turns of the event loop before an idle run without timers is called a deadlock. */
const idleTurns = 2

const deadlock = (world: World): Deadlock => {
  const paused = [...world.processes].filter(([, process]) => process.isPaused())
  return new Deadlock({
    step: world.steps,
    millis: world.now,
    paused: paused.map(([name]) => name),
    waiting: world.recorder?.waiting() ?? []
  })
}

/** Runs all that is runnable, as `World.advance` does. Errors made meanwhile have no stack. */
const advanceWithoutStacks = (world: World): ReturnType<World["advance"]> => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return world.advance()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** Starts a program in its world, and calls `onEnd` once, when the world is closed. */
export const drive = (
  world: World,
  stacks: boolean,
  begin: () => void,
  onEnd: () => void
): void => {
  const outside = new Outside()
  const deadline = realNow() + world.limits.maxRealMillis
  let idle = 0
  const turn = (): void => {
    world.arrivals.hold()
    realImmediate(settle)
    outside.stirred = false
  }
  const end = (): void => {
    outside.close()
    onEnd()
  }
  const settle = (): void => {
    if (world.closed) return end()
    if (realNow() > deadline) {
      world.fail(world.limitReached("maxRealTime"))
      return end()
    }
    if (outside.stirred || outside.isWorking) return turn()
    world.arrivals.admit()
    pump()
  }
  const pump = (): void => {
    for (;;) {
      const { steps } = world
      const state = stacks ? world.advance() : advanceWithoutStacks(world)
      if (state === "closed") return end()
      if (state === "due") return turn()
      if (world.steps !== steps) idle = 0
      if (outside.stirred || outside.isWorking) return turn()
      if (world.jump()) continue
      if (idle++ < idleTurns) return turn()
      world.fail(deadlock(world))
    }
  }
  outside.run(() => {
    begin()
    pump()
  })
}
