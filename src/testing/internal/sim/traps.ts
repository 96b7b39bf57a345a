/**
 * Traps on the real clocks, random numbers, timers and I/O, for code that belongs to a run.
 *
 * They are set at the first run and stay, since removing and setting them for each run would cost
 * more than the run; if fake timers or mocks have removed some, these are set again. A call that
 * does not belong to a run that is under way passes through. The run of a call comes from Node's
 * `AsyncLocalStorage`, so promises and callbacks that the program started count as well.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import child_process from "node:child_process"
import node_crypto from "node:crypto"
import dgram from "node:dgram"
import dns from "node:dns"
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import net from "node:net"
import timers from "node:timers"
import timersPromises from "node:timers/promises"
import worker_threads from "node:worker_threads"

/** The stand-ins of trapped calls; a name without an entry has none. */
export type StandIns = Readonly<Record<string, (...args: ReadonlyArray<never>) => unknown>>

/** The run that trapped calls belong to. */
export interface Trapper {
  /** False once the run has ended: later calls are not trapped. */
  readonly isOn: () => boolean
  readonly standIns: StandIns
  /** Whether a stand-in answers; otherwise the call is refused. */
  readonly simulates: boolean
  /** False in a callback: an error that is thrown there would end Node. */
  readonly isInStep: () => boolean
  /** Ends the run because of a call. */
  readonly refuse: (call: string, stack: string) => Error
}

const runs = new AsyncLocalStorage<Trapper>()

const setImmediateOnce = globalThis.setImmediate

/** The real `setImmediate`, for the drivers of runs. */
export const realImmediate = (act: () => void): void => void setImmediateOnce(act)

/** The real monotonic clock, in milliseconds. */
export const realNow: () => number = performance.now.bind(performance)

const frames = 12

/** The stack of a trapped call, without lines of Node and of the simulation. */
const stackOf = (below: Function): ReadonlyArray<string> => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = frames
  const holder: { stack?: string } = {}
  try {
    Error.captureStackTrace(holder, below)
    return String(holder.stack).split("\n").slice(1)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

const isEffect = (line: string | undefined): boolean =>
  line !== undefined && /[\\/]node_modules[\\/]effect[\\/]/.test(line)

/**
 * `Hash.random` numbers an object once, for all runs to come. One number for all objects is the
 * only one that does not depend on earlier runs; maps by identity then keep the order of insertion.
 */
const isHash = (line: string | undefined): boolean =>
  isEffect(line) && /[\\/]Hash\.[jt]s/.test(line!)

const testingFolder = new URL("../../", import.meta.url).pathname

/** The reports of a run read sources, for example. */
const isReport = (line: string | undefined): boolean => line?.includes(testingFolder) === true

/** Loading a module reads files, at its first use in a program. */
const isLoader = (line: string): boolean => line.includes("node:internal/modules/")

/** The program's part of a stack, without its drivers. */
const shown = (stack: ReadonlyArray<string>): string => {
  const lines = stack.filter((line) => !line.includes("node:internal/"))
  const end = lines.findIndex((line) => isEffect(line))
  return (end > 0 ? lines.slice(0, end) : lines).map((line) => line.trim()).join("\n")
}

type AnyFunction = (...args: ReadonlyArray<never>) => unknown

const answer = (name: string, real: () => unknown, args: ReadonlyArray<unknown>): unknown => {
  const trapper = runs.getStore()
  if (trapper === undefined || !trapper.isOn()) return real()
  if (name === "Math.random" && isHash(stackOf(answer)[1])) return 0
  const standIn = trapper.standIns[name]
  if (standIn !== undefined && trapper.simulates) return Reflect.apply(standIn, undefined, args)
  const stack = stackOf(answer)
  // The frame of the trap comes first. Effect itself numbers spans and hashes objects at random.
  if (standIn !== undefined && isEffect(stack[1]) && !name.startsWith("set")) {
    return Reflect.apply(standIn, undefined, args)
  }
  if (isReport(stack[1]) || stack.some(isLoader)) return real()
  const error = trapper.refuse(name, shown(stack.slice(1)))
  if (standIn === undefined || trapper.isInStep()) throw error
  return Reflect.apply(standIn, undefined, args)
}

/** Functions that are traps. Fake timers and mocks may replace one, and remove it again. */
const traps = new WeakSet<object>()

const trap = <F extends object>(original: F, handler: ProxyHandler<F>): F => {
  const proxy = new Proxy(original, handler)
  traps.add(proxy)
  return proxy
}

/** Node's timers find their promised forms in `timers/promises`, which is trapped before them. */
const trapped = <F extends AnyFunction>(name: string, original: F): F =>
  traps.has(original)
    ? original
    : trap(original, {
        apply: (target, self, args) => answer(name, () => Reflect.apply(target, self, args), args),
        construct: (target, args, newTarget) =>
          answer(name, () => Reflect.construct(target, args, newTarget), args) as object
      })

/** Replaces functions of an object; `prefix` is for reports. */
const set = (prefix: string, object: object, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const original: unknown = Reflect.get(object, name)
    if (typeof original !== "function") continue
    const value = trapped(`${prefix}${name}`, original as AnyFunction)
    Object.defineProperty(object, name, { value, configurable: true, writable: true })
  }
}

const functionsOf = (object: object): ReadonlyArray<string> =>
  Object.keys(object).filter((name) => /^[a-z]/.test(name))

const methodsOf = (prototype: object): ReadonlyArray<string> =>
  Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([name, { value }]) => name !== "constructor" && typeof value === "function")
    .map(([name]) => name)

/** Leaves out writes to standard output and standard error. */
const exceptStandardStreams = (names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const guarded: AnyFunction = Reflect.get(fs, name)
    const value = new Proxy(guarded, {
      apply: (target, self, args) => {
        const call = () => Reflect.apply(target, self, args)
        return args[0] === 1 || args[0] === 2 ? runs.exit(call) : call()
      }
    })
    Object.defineProperty(fs, name, { value, configurable: true, writable: true })
  }
}

const setDate = (): void => {
  const RealDate = Date
  if (traps.has(RealDate)) return
  const { now } = RealDate
  set("Date.", RealDate, ["now"])
  globalThis.Date = trap(RealDate, {
    construct: (target, args, newTarget) =>
      args.length > 0
        ? Reflect.construct(target, args, newTarget)
        : Reflect.construct(target, [answer("Date.now", now, [])], newTarget),
    apply: () => new RealDate(answer("Date.now", now, []) as number).toString()
  })
  RealDate.prototype.constructor = Date
}

const setClocks = (): void => {
  setDate()
  set("performance.", performance, ["now", "mark", "measure"])
  set("process.", process, ["uptime"])
  const { hrtime } = process
  if (traps.has(hrtime)) return
  const bigint = trapped("process.hrtime.bigint", hrtime.bigint)
  process.hrtime = Object.assign(trapped("process.hrtime", hrtime), { bigint })
}

const setTimers = (): void => {
  set("timers/promises.", timersPromises, ["setTimeout", "setImmediate", "setInterval"])
  set("timers/promises.scheduler.", timersPromises.scheduler, ["wait", "yield"])
  set("AbortSignal.", AbortSignal, ["timeout"])
  for (const name of ["setTimeout", "setImmediate", "setInterval"] as const) {
    globalThis[name] = trapped(name, globalThis[name]) as never
    timers[name] = globalThis[name] as never
  }
  for (const name of ["clearTimeout", "clearImmediate", "clearInterval"] as const) {
    const real: (handle: unknown) => void = globalThis[name] as never
    if (traps.has(real)) continue
    globalThis[name] = ((handle: { readonly simulated?: () => void } | undefined) => {
      if (typeof handle?.simulated === "function") handle.simulated()
      else real(handle)
    }) as never
    traps.add(globalThis[name])
    timers[name] = globalThis[name] as never
  }
}

const setRandom = (): void => {
  set("Math.", Math, ["random"])
  set("crypto.", crypto, ["getRandomValues", "randomUUID"])
  const names = ["randomBytes", "randomFill", "randomFillSync", "randomInt", "randomUUID"]
  set("crypto.", node_crypto, names)
}

/**
 * Databases. Node does not update the exports of modules that need `node:`, so a program that has
 * imported the constructor by its name keeps the real one. It is then refused the first use of what
 * it has opened, whatever that is.
 */
const setDatabases = (): void => {
  const sqlite = process.getBuiltinModule("node:sqlite")
  const { DatabaseSync, StatementSync } = sqlite
  set("sqlite.DatabaseSync.", DatabaseSync.prototype, methodsOf(DatabaseSync.prototype))
  set("sqlite.StatementSync.", StatementSync.prototype, ["all", "get", "iterate", "run"])
  set("sqlite.", sqlite, ["DatabaseSync", "backup"])
}

const setInputOutput = (): void => {
  set("", globalThis, ["fetch"])
  set("net.Socket.", net.Socket.prototype, ["connect"])
  set("net.Server.", net.Server.prototype, ["listen"])
  set("dgram.Socket.", dgram.Socket.prototype, ["bind", "connect", "send"])
  set("dns.", dns, functionsOf(dns))
  set("child_process.", child_process, functionsOf(child_process))
  set("worker_threads.", worker_threads, ["Worker"])
  setDatabases()
  set("fs.", fs, functionsOf(fs))
  set("fs.promises.", fs.promises, functionsOf(fs.promises))
  exceptStandardStreams(["write", "writeSync", "writev", "writevSync", "fstat", "fstatSync"])
}

/** Checks the functions that fake timers and mocks replace most. */
const areSet = (): boolean => {
  const { clearTimeout, Date, performance, setImmediate, setInterval, setTimeout } = globalThis
  const timers = [clearTimeout, setImmediate, setInterval, setTimeout]
  return [Date, Math.random, performance.now, process.hrtime, ...timers].every((value) =>
    traps.has(value)
  )
}

let isSet = false

/** Runs `f`, and all calls that it leads to, under the traps. */
export const withTraps = <A>(trapper: Trapper, f: () => A): A => {
  if (!areSet()) {
    setClocks()
    setTimers()
    setRandom()
    if (!isSet) setInputOutput()
    isSet = true
    syncBuiltinESMExports()
  }
  return runs.run(trapper, f)
}
