/** The two simulated processes: a server, and clients with many callers. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { Store } from "../../../actors/kernel/Journal.ts"
import * as RpcClient from "../../../actors/rpc/RpcClient.ts"
import type { Program } from "../../../actors/rpc/RpcProgram.ts"
import * as RpcServer from "../../../actors/rpc/RpcServer.ts"
import type { SimFabric } from "../../../native/sim/SimFabric.ts"
import * as SimVerbs from "../../../native/sim/SimVerbs.ts"
import * as Sim from "../../Sim.ts"
import type { CallChecker, Connection } from "./callChecker.ts"

export interface Setting {
  readonly fabric: SimFabric
  readonly checker: CallChecker
  /** The server's, outside of its process. */
  readonly journal: Store | undefined
}

const port = 20_049
const number = { program: 0x2000_0001, version: 1 }
/** Clients on one host, and callers of each: 48 in all. */
const [CLIENTS, CALLERS] = [2, 24]
/** The longest pause of a caller between two calls, and the longest handler, in milliseconds. */
const [PAUSE, HANDLER] = [60, 40]
/** The share of calls that are interrupted, and of those that do not fit inline. */
const [INTERRUPTED, LONG] = [0.2, 0.1]
const LONG_BYTES = 2_500
/** The share of calls that call back, and how many of these a client takes at once. */
const [NESTED, REVERSE] = [0.2, 3]
/** The share of calls that use a register. */
const REGISTER = 0.1
/** Milliseconds between two changes of the grant, and the highest one. */
const [REGRANT, MOST] = [40, 16]

const wordAt = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

const wordOf = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

/** The program of the clients: calls in the reverse direction carry the token of their call. */
const reverse = { program: 0x2000_0002, version: 1 }
const servedBack = ({ checker }: Setting): Program => ({
  ...reverse,
  procedures: {
    1: {
      handler: ({ args }) =>
        Effect.sync(() => {
          checker.calledBack(wordAt(args))
          return { results: args }
        })
    }
  }
})

const served = ({ checker }: Setting): Program => ({
  ...number,
  procedures: {
    1: {
      handler: Effect.fnUntraced(function* ({ args, caller }) {
        checker.executed(wordAt(args))
        const isNested = (yield* Random.next) < NESTED
        const word = { ...reverse, procedure: 1, args: args.slice(0, 4) }
        if (isNested) yield* Effect.ignore(caller!.call(word))
        const isSlow = yield* Random.nextBoolean
        if (isSlow) yield* Effect.sleep(yield* Random.nextBetween(0, HANDLER))
        return { results: args }
      })
    },
    2: {
      handler: ({ args }) =>
        Effect.sync(() => {
          const token = wordAt(args)
          checker.executed(token)
          const value = checker.use(token)
          return { results: Uint8Array.from([...args, ...wordOf(value)]) }
        })
    }
  }
})

/** Others go on before and after each append: the process may die there. */
const unhurried = (store: Store): Store => ({
  ...store,
  append: (append) =>
    Effect.andThen(
      Effect.yieldNow,
      Effect.tap(store.append(append), () => Effect.yieldNow)
    )
})

/** Serves, and changes the grant all the time. */
export const server = (setting: Setting) =>
  Effect.gen(function* () {
    const { checker, journal } = setting
    checker.serverLives++
    const server = yield* RpcServer.make({
      programs: [served(setting)],
      open: true,
      host: "*",
      port,
      maxCredits: MOST,
      credits: MOST,
      unprovenWithinMs: 2_000,
      journal: journal && unhurried(journal)
    })
    while (!checker.isOver) {
      yield* Effect.sleep(REGRANT)
      yield* server.setCredits(yield* Random.nextIntBetween(1, MOST + 1))
    }
    // The last calls are still to be answered.
    yield* Sim.eventually(() => checker.pending === 0, "60 seconds", "all calls have ended")
    yield* Effect.sleep("20 seconds")
  }).pipe(Effect.scoped, Effect.provide(SimVerbs.layer(setting.fabric, { host: "server" })))

/** A client, and the connections that it has had. */
class Caller {
  readonly client: RpcClient.RpcClient
  readonly #name: string
  readonly #epochs: Array<unknown> = []

  constructor(client: RpcClient.RpcClient, name: string) {
    this.client = client
    this.#name = name
  }

  /** The connection that there is, or the pause in its place. */
  readonly now = Effect.suspend(() =>
    Effect.map(Stream.runHead(this.client.states), (state) => {
      const { _tag, epoch } = Option.getOrThrow(state)
      if (this.#epochs.at(-1) !== epoch) this.#epochs.push(epoch)
      const connection: Connection = { client: this.#name, place: this.#epochs.length - 1 }
      return { isReady: _tag === "Ready", connection }
    })
  )
}

/** One call with a token, which may be interrupted. */
const call = Effect.fnUntraced(function* ({ checker }: Setting, caller: Caller) {
  const { connection, isReady } = yield* caller.now
  const token = checker.begin(isReady ? connection : undefined)
  const kind = yield* Random.next
  const isLong = kind < LONG
  const isOfRegister = kind > 1 - REGISTER
  const args = new Uint8Array(isLong ? LONG_BYTES : 4)
  new DataView(args.buffer).setUint32(0, token)
  const procedure = isOfRegister ? 2 : 1
  const whole = caller.client.call({ procedure, args, maxResultBytes: args.length + 4 })
  const results = Effect.map(whole, (reply) => reply.results)
  const recorded = Effect.gen(function* () {
    const found = yield* results
    return [wordAt(found), isOfRegister ? wordAt(found.subarray(4)) : 0] as const
  })
  let returned = 0
  const value = Effect.map(recorded, ([first, second]) => ((returned = first), second))
  const reply = isOfRegister ? checker.record(token, value) : Effect.asVoid(value)
  const isInterrupted = (yield* Random.next) < INTERRUPTED
  const within = yield* Random.nextBetween(0, HANDLER)
  const exit = yield* Effect.exit(
    isInterrupted ? Effect.timeoutOption(reply, within) : Effect.asSome(reply)
  )
  if (Exit.isSuccess(exit)) {
    if (Option.isSome(exit.value)) return checker.ended(token, "reply", returned)
    return checker.givenUp(token, (yield* caller.now).connection)
  }
  const isUnknown = exit.cause.reasons.some(
    (reason) => reason._tag === "Fail" && reason.error._tag === "OutcomeUnknown"
  )
  return checker.ended(token, isUnknown ? "unknown" : "failed")
})

const calling = (setting: Setting, caller: Caller) =>
  Effect.gen(function* () {
    while (!setting.checker.isOver) {
      yield* call(setting, caller)
      yield* Effect.sleep(yield* Random.nextBetween(0, PAUSE))
    }
  })

/** Calls until the faults are over, then waits until nothing is held any more. */
export const clients = (setting: Setting, address: string) =>
  Effect.gen(function* () {
    setting.checker.abandonAll()
    const options = {
      ...number,
      to: { host: address, port },
      credits: MOST,
      reverse: [servedBack(setting)],
      reverseCalls: REVERSE,
      inlineBytes: 1_024,
      firstPauseMs: 5,
      longestPauseMs: 200,
      connectWithinMs: 500,
      overdueAfterMs: 500,
      probeWithinMs: 300,
      zombieWithinMs: 1_000
    }
    const clients = yield* Effect.forEach(Array.from({ length: CLIENTS }), () =>
      RpcClient.make(options)
    )
    const callers = clients.map((client) => new Caller(client, setting.checker.nameClient()))
    yield* Effect.forEach(
      callers.flatMap((caller) => Array.from({ length: CALLERS }, () => caller)),
      (caller) => calling(setting, caller),
      { concurrency: "unbounded", discard: true }
    )
    const isFree = ({ usage }: RpcClient.RpcClient) =>
      usage.waiting + usage.xids + usage.heldCredits + usage.lentBytes === 0
    yield* Sim.eventually(() => clients.every(isFree), "10 seconds", "nothing is held")
  }).pipe(Effect.scoped, Effect.provide(SimVerbs.layer(setting.fabric, { host: "clients" })))
