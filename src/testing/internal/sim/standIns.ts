/** Stand-ins for the real clocks, random numbers and timers. */
import { AsyncLocalStorage } from "node:async_hooks"
import { NotSimulated } from "../../SimError.ts"
import { type SimProcess, processOf } from "./simProcess.ts"
import { SeededCrypto } from "./seededCrypto.ts"
import type { StandIns, Trapper } from "./traps.ts"
import type { Simulator } from "./simulator.ts"

type Callback = (...args: ReadonlyArray<unknown>) => void

/** The result of `setTimeout` and the like. A simulation never waits for a timer to be done. */
class SimulatedTimer {
  #cancel: () => void = () => undefined
  readonly #set: () => () => void

  constructor(set: () => () => void) {
    this.#set = set
    this.#cancel = set()
  }

  /** Called by `clearTimeout` and the like. */
  simulated(): void {
    this.#cancel()
  }

  refresh(): this {
    this.#cancel()
    this.#cancel = this.#set()
    return this
  }

  close(): this {
    this.#cancel()
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return false
  }

  [Symbol.dispose](): void {
    this.#cancel()
  }
}

const timeout = (simProcess: SimProcess, call: () => void, millis: unknown): (() => void) => {
  const wait = Math.max(1, Number(millis) || 1)
  const timer = simProcess.simulator.sleep(simProcess, wait, call)
  return () => void (timer.cancelled = true)
}

const interval = (simProcess: SimProcess, call: () => void, millis: unknown): (() => void) => {
  let cancel = (): void => undefined
  const again = (): void => {
    cancel = timeout(simProcess, again, millis)
    call()
  }
  cancel = timeout(simProcess, again, millis)
  return () => cancel()
}

const immediate = (simProcess: SimProcess, call: () => void): (() => void) => {
  let isCancelled = false
  simProcess.enqueue(() => (isCancelled ? undefined : call()), simProcess.simulator.newLane())
  return () => void (isCancelled = true)
}

const standIns = (simulator: Simulator<SimProcess>): StandIns => {
  const simProcess = (): SimProcess => processOf(simulator)
  const seeded = new SeededCrypto(simulator.random)
  const nanos = () => simProcess().clock.monotonicTimeNanosUnsafe()
  const timer = (
    set: (simProcess: SimProcess, call: () => void, millis: unknown) => () => void
  ) => {
    return (callback: Callback, millis?: unknown, ...args: ReadonlyArray<unknown>) => {
      const of = simProcess()
      const call = AsyncLocalStorage.bind(() => callback(...args))
      return new SimulatedTimer(() => set(of, call, millis))
    }
  }
  const withoutDelay = timer(immediate)
  return {
    "Date.now": () => simProcess().clock.currentTimeMillisUnsafe(),
    "performance.now": () => Number(nanos()) / 1_000_000,
    "process.hrtime.bigint": nanos,
    "Math.random": () => simulator.random.double(),
    "crypto.randomUUID": () => seeded.randomUUID(),
    "crypto.getRandomValues": (array: ArrayBufferView) => seeded.getRandomValues(array),
    setTimeout: timer(timeout),
    setInterval: timer(interval),
    setImmediate: (callback: Callback, ...args: ReadonlyArray<unknown>) =>
      withoutDelay(callback, undefined, ...args)
  }
}

/** The traps' interface to a run. */
export const trapperOf = (simulator: Simulator<SimProcess>, simulates: boolean): Trapper => ({
  isOn: () => !simulator.closed,
  standIns: standIns(simulator),
  simulates,
  isInStep: () => simulator.running !== undefined,
  refuse: (call, stack) => {
    const process = processOf(simulator).name
    const error = new NotSimulated({ call, process, step: simulator.steps, stack })
    simulator.fail(error)
    return error
  }
})
