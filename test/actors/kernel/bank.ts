/**
 * A process with four accounts under two levels of supervisors, the clients that use them, and
 * subscribers of their states. A client spawns its account again when that has ended for good.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { type Account, account, ROOM } from "./account.ts"
import { Life, type Witness } from "./witness.ts"

/** What a bank shows to the simulation around it. */
interface Bank {
  readonly life: Life
  /** The accounts as they are now, by their id. */
  readonly accounts: Map<string, Account>
  /** The promises that the newest state of each subscription has shown. */
  readonly shown: Map<string, number>
}

const ids = ["a", "b", "c", "d"] as const

/** Spawns an account until that succeeds: its supervisor may be halted, or the journal fail. */
const spawning = (supervisor: Supervisor.Supervisor, bank: Bank, id: string) =>
  supervisor.spawn(account(bank.life), id).pipe(
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.tap((actor) => Effect.sync(() => bank.accounts.set(id, actor))),
    Effect.orDie
  )

/** States are durable, never go back, and come to an end with the actor. */
const subscribe = (bank: Bank, actor: Account, id: string) => {
  let newest = 0
  return Stream.runForEach(actor.states, ({ promises }) =>
    Effect.sync(() => {
      const { witness } = bank.life
      witness.shown(id, promises, "a subscription")
      if (promises < newest) witness.fault(`states of ${id} go back to ${promises}`)
      newest = promises
      bank.shown.set(id, promises)
    })
  ).pipe(Effect.ignore)
}

/** The state is durable, and no older than what a subscription has shown. */
const look = Effect.fnUntraced(function* ({ life, shown }: Bank, actor: Account, id: string) {
  const known = shown.get(id) ?? 0
  const { promises } = yield* actor.state
  life.witness.shown(id, promises, "the state")
  if (promises < known) life.witness.fault(`the state of ${id} goes back to ${promises}`)
})

/** One random request. Answers are compared with what is stored at that moment. */
const request = Effect.fnUntraced(function* (bank: Bank, actor: Account, id: string) {
  const { witness } = bank.life
  const op = witness.nextOp()
  const { ask } = (yield* Random.nextBoolean) ? actor : { ask: actor.askWithin("40 millis") }
  const kind = yield* Random.nextIntBetween(0, 60)
  if (kind < 20) witness.deposited(id, op, yield* ask.Deposit({ op }))
  else if (kind < 34) witness.transferred(id, op, yield* ask.Transfer({ op }))
  else if (kind < 44) yield* ask.Note()
  else if (kind < 46) yield* ask.Freeze()
  else if (kind < 49) yield* ask.Thaw()
  else if (kind < 51) yield* ask.Reopen()
  else if (kind < 54) witness.shown(id, yield* ask.Promises(), "an answer")
  else if (kind === 54) yield* ask.Break({ how: "decide" })
  else if (kind === 55) yield* ask.Break({ how: "react" })
  else if (kind < 58) yield* actor.tell.Deposit({ op })
  else if (kind === 58) yield* Effect.timeoutOption(ask.Linger(), "5 millis")
  else yield* look(bank, actor, id)
})

/** Requests until all is calm; every fifth one is interrupted. */
const client = Effect.fnUntraced(function* (bank: Bank, id: string) {
  while (!bank.life.witness.isCalm) {
    const actor = bank.accounts.get(id)
    if (actor !== undefined) {
      const asking = bank.life.asking(Effect.exit(request(bank, actor, id)))
      const patience = yield* Random.nextIntBetween(0, 5)
      yield* patience > 0
        ? asking
        : Effect.timeoutOption(asking, yield* Random.nextIntBetween(0, 20))
    }
    const rest = yield* Random.nextIntBetween(0, 12)
    yield* Effect.sleep(rest === 0 ? 400 : rest)
  }
})

/** Keeps an account and a subscription of its states. */
const keep = Effect.fnUntraced(function* (
  bank: Bank,
  supervisor: Supervisor.Supervisor,
  id: string
) {
  const actor = yield* spawning(supervisor, bank, id)
  yield* Effect.forkScoped(
    Effect.gen(function* () {
      let current = actor
      while (true) {
        yield* subscribe(bank, current, id)
        yield* current.ended
        yield* Effect.sleep("100 millis")
        current = yield* spawning(supervisor, bank, id)
      }
    })
  )
})

/** Starts a bank in the Scope. */
const open = Effect.fnUntraced(function* (witness: Witness) {
  const bank: Bank = { life: new Life(witness), accounts: new Map(), shown: new Map() }
  const strategies = ["one-for-one", "one-for-all", "rest-for-one"] as const
  const draw = Effect.map(Random.nextIntBetween(0, 3), (n) => strategies[n] ?? "one-for-one")
  const root = yield* Supervisor.make({
    strategy: yield* draw,
    restarts: { max: 1_000_000, within: "1 second" },
    backoff: Schedule.spaced("20 millis")
  })
  const supervisor = Effect.fnUntraced(function* () {
    const restarts = { max: 3, within: "300 millis" } as const
    const backoff = Schedule.spaced("5 millis")
    return yield* Supervisor.make({ strategy: yield* draw, parent: root, restarts, backoff })
  })
  const [first, second] = [yield* supervisor(), yield* supervisor()]
  for (const id of ids) yield* keep(bank, id < "c" ? first : second, id)
  for (const id of ids) {
    yield* Effect.forkScoped(client(bank, id))
    yield* Effect.forkScoped(client(bank, id))
  }
  return bank
})

/** A process that serves until all is calm. Then it must be in order, and leave nothing. */
export const server = Effect.fnUntraced(function* (witness: Witness) {
  const bank = yield* Effect.scoped(Effect.tap(open(witness), settle))
  leavesNothing(bank)
})

/** Another process takes over one history for a while. */
export const rival = Effect.fnUntraced(function* (witness: Witness) {
  const bank: Bank = { life: new Life(witness), accounts: new Map(), shown: new Map() }
  const living = Effect.gen(function* () {
    yield* keep(bank, yield* Supervisor.make(), "a")
    yield* Effect.forkScoped(client(bank, "a"))
    yield* Effect.sleep("300 millis")
  })
  yield* Effect.scoped(living)
  leavesNothing(bank)
})

const leavesNothing = ({ life: { asksUnderWay, held, witness } }: Bank): void => {
  if (held !== 0) witness.fault(`${held} epochs are held after the Scope has closed`)
  if (asksUnderWay !== 0) witness.fault(`${asksUnderWay} asks are left`)
}

/** Waits until all is calm, and then until every ask has ended and every account answers. */
const settle = Effect.fnUntraced(function* (bank: Bank) {
  const { accounts, life, shown } = bank
  const { witness } = life
  yield* until(() => witness.isCalm)
  for (const id of ids) {
    const again = Schedule.spaced("100 millis")
    yield* Effect.retry(
      Effect.suspend(() => accounts.get(id)!.ask.Thaw()),
      again
    )
  }
  yield* until(() => life.asksUnderWay === 0)
  for (const id of ids) {
    yield* hasRoom(witness, accounts.get(id)!)
    yield* until(() => shown.get(id) === witness.promises(id))
  }
})

const until = (holds: () => boolean) =>
  Effect.repeat(Effect.sleep("20 millis"), { until: () => Effect.sync(holds) })

/** Every place in the stash and among those who wait is free. */
const hasRoom = Effect.fnUntraced(function* (witness: Witness, { ask }: Account) {
  const all = { concurrency: "unbounded" } as const
  const many = <A, E>(request: (payload: { op: number }) => Effect.Effect<A, E>) =>
    Array.from({ length: ROOM }, () => request({ op: witness.nextOp() }))
  yield* Effect.all(
    many((payload) => ask.Transfer(payload)),
    all
  )
  yield* ask.Freeze()
  const aside = many((payload) => ask.Deposit(payload))
  yield* Effect.all([...aside, Effect.delay(ask.Thaw(), "10 millis")], all)
})
