/** What a run answers to calls of the real clocks, random numbers and timers. */
import { AsyncLocalStorage } from "node:async_hooks"
import { NotSimulated } from "../../SimError.ts"
import { type Home, homeOf } from "./simProcess.ts"
import { SeededCrypto } from "./seededCrypto.ts"
import type { StandIns, Trapper } from "./traps.ts"
import type { World } from "./simulator.ts"

type Callback = (...args: ReadonlyArray<unknown>) => void

/** What `setTimeout` and the like return. A simulation never waits for a timer to be done. */
class SimulatedTimer {
  #cancel: () => void = () => undefined
  readonly #set: () => () => void

  constructor(set: () => () => void) {
    this.#set = set
    this.#cancel = set()
  }

  /** `clearTimeout` and the like call this. */
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

const timeout = (home: Home, call: () => void, millis: unknown): (() => void) => {
  const wait = Math.max(1, Number(millis) || 1)
  const timer = home.world.sleep(home, wait, call)
  return () => void (timer.cancelled = true)
}

const interval = (home: Home, call: () => void, millis: unknown): (() => void) => {
  let cancel = (): void => undefined
  const again = (): void => {
    cancel = timeout(home, again, millis)
    call()
  }
  cancel = timeout(home, again, millis)
  return () => cancel()
}

const immediate = (home: Home, call: () => void): (() => void) => {
  let isCancelled = false
  home.enqueue(() => (isCancelled ? undefined : call()), home.world.newLane())
  return () => void (isCancelled = true)
}

const standIns = (world: World): StandIns => {
  const home = (): Home => homeOf(world)
  const seeded = new SeededCrypto(world.random)
  const nanos = () => home().clock.monotonicTimeNanosUnsafe()
  const timer = (set: (home: Home, call: () => void, millis: unknown) => () => void) => {
    return (callback: Callback, millis?: unknown, ...args: ReadonlyArray<unknown>) => {
      const of = home()
      const call = AsyncLocalStorage.bind(() => callback(...args))
      return new SimulatedTimer(() => set(of, call, millis))
    }
  }
  const withoutDelay = timer(immediate)
  return {
    "Date.now": () => home().clock.currentTimeMillisUnsafe(),
    "performance.now": () => Number(nanos()) / 1_000_000,
    "process.hrtime.bigint": nanos,
    "Math.random": () => world.random.double(),
    "crypto.randomUUID": () => seeded.randomUUID(),
    "crypto.getRandomValues": (array: ArrayBufferView) => seeded.getRandomValues(array),
    setTimeout: timer(timeout),
    setInterval: timer(interval),
    setImmediate: (callback: Callback, ...args: ReadonlyArray<unknown>) =>
      withoutDelay(callback, undefined, ...args)
  }
}

/** What the traps need to know of a run. */
export const trapperOf = (world: World, simulates: boolean): Trapper => ({
  isOn: () => !world.closed,
  standIns: standIns(world),
  simulates,
  isInStep: () => world.running !== undefined,
  refuse: (call, stack) => {
    const process = homeOf(world).name
    const error = new NotSimulated({ call, process, step: world.steps, stack })
    world.fail(error)
    return error
  }
})
