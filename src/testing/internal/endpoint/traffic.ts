/** The transfers of a simulated host's programs, before the faults stop and after that. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Chaos from "../../../actors/kernel/Chaos.ts"
import type { Memory } from "../../../actors/rdma/Memory.ts"
import { TransferEngine } from "../../../actors/transfer/TransferEngine.ts"
import type { Order, TransferChecker, Wanted } from "./transferChecker.ts"

/** Bytes of one transfer: eight slices. */
const PIECE = 1_024
/** Each host has so many pieces for each other one: for writes, for reads, and for durable ones. */
const PIECES = 3
/**
 * The pause between two transfers of a program, in milliseconds. The least is longer than the delay
 * of any message: messages of a failed transfer must not come into the next one's memory.
 */
const [SHORTEST, LONGEST] = [100, 700]
/** Shares of transfers with a deadline, of cancelled ones, and of those that prefer to fail. */
const [BOUNDED, CANCELLED, PREFERRING] = [0.3, 0.1, 0.2]
/** The longest time until a deadline, and until a cancellation. */
const [LATEST_DEADLINE, LATEST_CANCELLATION] = [3_000, 300]
/** Submissions of a durable transfer that its engine cannot accept. */
const SUBMISSIONS = 20

export interface Program {
  readonly name: string
  readonly names: ReadonlyArray<string>
  readonly checker: TransferChecker
}

export const inboxBytes = (names: ReadonlyArray<string>): number => PIECES * PIECE * names.length
export const localBytes = (names: ReadonlyArray<string>): number => 2 * PIECE * names.length

/** Fills memory with recognisable bytes. */
export const pattern = (bytes: Uint8Array, seed: number): void => {
  for (let index = 0; index < bytes.length; index++) bytes[index] = index * 31 + seed + (index >> 8)
}

const inboxAt = ({ name, names }: Program, piece: number): number =>
  PIECE * (PIECES * names.indexOf(name) + piece)

const othersOf = ({ name, names }: Program): ReadonlyArray<string> =>
  names.filter((other) => other !== name)

const pick = <A>(items: ReadonlyArray<A>): Effect.Effect<A> =>
  Effect.map(Random.nextIntBetween(0, items.length - 1), (index) => items[index]!)

const maybe = (share: number, most: number): Effect.Effect<number | undefined> =>
  Effect.gen(function* () {
    const isDrawn = (yield* Random.next) < share
    return isDrawn ? yield* Random.nextIntBetween(1, most) : undefined
  })

/** Runs one transfer to its end. */
const run = Effect.fnUntraced(function* (
  { checker }: Program,
  outbox: Memory,
  wanted: Wanted,
  cancelAfter?: number
) {
  const engine = yield* TransferEngine
  const { at, isWrite, local, onReplaced, peer, within } = wanted
  if (isWrite) pattern(local, yield* Random.nextIntBetween(0, 255))
  const piece = outbox.slice(local.byteOffset - outbox.bytes.byteOffset, PIECE)
  const place = { buffer: "inbox", offset: at }
  const terms = { peer, within, onReplaced }
  const ticket = checker.accept(wanted)
  const moving = (
    isWrite
      ? engine.write({ ...terms, from: piece, to: place })
      : engine.read({ ...terms, from: place, to: piece })
  ).pipe(Effect.onExit((exit) => Effect.sync(() => checker.end(ticket, exit))))
  const limited = cancelAfter === undefined ? moving : Effect.timeout(moving, cancelAfter)
  const exit = yield* Effect.exit(limited)
  const isReplaced = Exit.isSuccess(exit) && checker.isReplaced(ticket)
  yield* Chaos.sometimes("an inbox was replaced during a transfer to it", isReplaced)
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  const isGivenUp = error?._tag === "TransferFailed" && error.reason === "peer-unreachable"
  yield* Chaos.sometimes("a peer was given up", isGivenUp)
})

/** A program that writes to others, or reads from them: at random under faults, then everything. */
export const move = Effect.fnUntraced(function* (
  program: Program,
  outbox: Memory,
  isWrite: boolean
) {
  const { checker, name, names } = program
  const at = inboxAt(program, isWrite ? 0 : 1)
  const wanted = (peer: string) => {
    const offset = PIECE * (2 * names.indexOf(peer) + (isWrite ? 0 : 1))
    return { by: name, peer, isWrite, local: outbox.bytes.subarray(offset, offset + PIECE), at }
  }
  while (!checker.isHealed) {
    const one = wanted(yield* pick(othersOf(program)))
    const within = yield* maybe(BOUNDED, LATEST_DEADLINE)
    const onReplaced = (yield* Random.next) < PREFERRING ? "fail" : undefined
    const cancelAfter = yield* maybe(CANCELLED, LATEST_CANCELLATION)
    yield* run(program, outbox, { ...one, within, onReplaced }, cancelAfter)
    const left = isWrite ? undefined : one.local.slice()
    yield* Effect.sleep(yield* Random.nextBetween(SHORTEST, LONGEST))
    if (left !== undefined && Buffer.compare(left, one.local) !== 0) {
      checker.violate("quiet", `a read of ${name} from ${one.peer} wrote after its end`)
    }
  }
  yield* Effect.sleep(Math.max(1, 1 + checker.settledAt - (yield* Clock.currentTimeMillis)))
  for (const peer of othersOf(program)) {
    yield* run(program, outbox, wanted(peer))
    checker.reached(name, peer, isWrite)
  }
})

/** Submits a durable transfer until its engine has an answer. */
const submit = Effect.fnUntraced(function* ({ checker }: Program, kept: Memory, order: Order) {
  const engine = yield* TransferEngine
  const { at, id, peer } = order
  const ops = [
    { op: "write", from: kept.slice(0, PIECE), to: { buffer: "inbox", offset: at } }
  ] as const
  for (let times = 0; times < SUBMISSIONS; times++) {
    const exit = yield* Effect.exit(engine.transfer({ durable: true, id, peer, ops }))
    const failure = exit._tag === "Failure" ? exit.cause.reasons[0] : undefined
    const isRefused =
      failure?._tag === "Fail" &&
      (failure.error._tag === "Stopped" || failure.error._tag === "MailboxFull")
    if (!isRefused) return checker.endOrder(order, exit)
    yield* Effect.sleep(SHORTEST)
  }
  // Its journal may have failed too often: only a new process can continue.
  return yield* Effect.die(new Error("durable transfers are not taken"))
})

/**
 * A program with durable transfers, one after the other. It begins with the one that its last life
 * has left, and sometimes submits an ended one again.
 */
export const deliver = Effect.fnUntraced(function* (program: Program) {
  const { checker, name } = program
  const engine = yield* TransferEngine
  let order = checker.ordersOf(name).find(({ end }) => end === undefined)
  let isLater = order !== undefined
  const memory = new SharedArrayBuffer(PIECE)
  const bytes = new Uint8Array(memory)
  if (order !== undefined) bytes.set(order.local)
  const kept = yield* engine.register({ name: "kept", memory, access: ["local-write"] })
  while (order !== undefined || !checker.isHealed) {
    if (order === undefined) {
      const local = new Uint8Array(PIECE)
      pattern(local, yield* Random.nextIntBetween(0, 255))
      bytes.set(local)
      const peer = yield* pick(othersOf(program))
      order = checker.order({ by: name, peer, isWrite: true, local, at: inboxAt(program, 2) })
    }
    yield* submit(program, kept, order)
    yield* Chaos.sometimes("a durable transfer ended in a later life", isLater)
    isLater = false
    if (yield* Random.nextBoolean) yield* submit(program, kept, order)
    order = undefined
    yield* Effect.sleep(yield* Random.nextBetween(SHORTEST, LONGEST))
  }
})
