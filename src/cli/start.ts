/**
 * `handfast start`: the main job, told in a few seconds on this machine.
 *
 * Two supervised accounts keep their history in one SQLite file. Clients pay into both as fast as
 * they can; one account is killed half way and recovers. At the end the file is opened again by
 * nobody who knew what happened, and what was acknowledged is compared with what it holds.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Actor from "../actors/kernel/Actor.ts"
import { Journal } from "../actors/kernel/Journal.ts"
import * as Supervisor from "../actors/kernel/Supervisor.ts"
import { type Account, accountOf, type Lives, names } from "./start/account.ts"

/** The story failed its own audit: the exit code says so too. */
class PromiseBroken extends Schema.TaggedError<PromiseBroken>()("PromiseBroken", {
  lost: Schema.Int,
  doubled: Schema.Int
}) {
  override get message() {
    return `${this.lost} acknowledged payments are lost, ${this.doubled} are stored twice`
  }
}

interface Told {
  readonly payments: number
  readonly acknowledged: number
  readonly unanswered: number
  readonly generations: number
  readonly recoveryMillis: number
  readonly seconds: number
}

const CLIENTS = 8

/** Pays until all is paid; a payment whose answer failed is not tried again. */
const pay = Effect.fnUntraced(function* (
  accounts: ReadonlyArray<Actor.Of<Account>>,
  payments: number,
  acknowledged: Set<number>
) {
  let next = 0
  const client = Effect.gen(function* () {
    while (next < payments) {
      const payment = next++
      const account = accounts[payment % accounts.length]
      if (account === undefined) continue
      if (payment === Math.floor(payments / 2)) yield* account.tell.Die()
      const answer = yield* Effect.exit(account.ask.Pay({ payment }))
      if (answer._tag === "Success") acknowledged.add(payment)
    }
  })
  yield* Effect.all(
    Array.from({ length: CLIENTS }, () => client),
    { concurrency: "unbounded" }
  )
})

const tell = Effect.fnUntraced(function* (
  payments: number,
  acknowledged: Set<number>
): Effect.fn.Return<Told, unknown, Journal> {
  const lives: Lives = { generations: 0, diedAt: 0, recoveryMillis: 0 }
  const began = yield* Clock.currentTimeMillis
  yield* Effect.gen(function* () {
    const supervisor = yield* Supervisor.make({ backoff: Schedule.spaced("50 millis") })
    const accounts = yield* Effect.forEach(names, (name) =>
      supervisor.spawn(accountOf(lives), name)
    )
    yield* pay(accounts, payments, acknowledged)
  }).pipe(
    Effect.scoped,
    // The crash is part of the story, so its warning is not news.
    Effect.provideService(References.MinimumLogLevel, "Error")
  )
  const ended = yield* Clock.currentTimeMillis
  return {
    payments,
    acknowledged: acknowledged.size,
    unanswered: payments - acknowledged.size,
    generations: lives.generations,
    recoveryMillis: Math.round(lives.recoveryMillis),
    seconds: (ended - began) / 1000
  }
})

/** Reads both histories and compares them with what was acknowledged. */
const audit = Effect.fnUntraced(function* (acknowledged: ReadonlySet<number>) {
  const journal = yield* Journal
  const times = new Map<number, number>()
  for (const name of names) {
    yield* Stream.runForEach(journal.read(`Account/${name}`), ({ body }) =>
      Effect.sync(() => {
        const { payment } = JSON.parse(body) as { readonly payment: number }
        times.set(payment, (times.get(payment) ?? 0) + 1)
      })
    )
  }
  const lost = [...acknowledged].filter((payment) => !times.has(payment)).length
  const doubled = [...times.values()].filter((count) => count > 1).length
  return { lost, doubled, stored: times.size }
})

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
)

const payments = Flag.Int("payments").pipe(
  Flag.withDescription("How many payments the clients make"),
  Flag.withDefault(20_000)
)

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print one JSON object instead"),
  Flag.withDefault(false)
)

export const start = Command.make("start", { json, payments }, ({ json, payments }) =>
  Effect.gen(function* () {
    const say = (line: string) => (json ? Effect.void : Console.log(line))
    const file = join(yield* temporary, "accounts.journal")
    const acknowledged = new Set<number>()
    yield* say(`Two supervised accounts, one journal in ${file}`)
    yield* say(`${CLIENTS} clients make ${payments} payments; ${names[0]} is killed half way.\n`)
    const told = yield* Effect.provide(tell(payments, acknowledged), Journal.layerSqlite({ file }))
    const found = yield* Effect.provide(audit(acknowledged), Journal.layerSqlite({ file }))
    const { doubled, lost, stored } = found
    const kept = lost === 0 && doubled === 0
    if (json) yield* Console.log(JSON.stringify({ ...told, ...found, kept }))
    yield* say(`  acknowledged   ${told.acknowledged} payments in ${told.seconds.toFixed(1)} s`)
    yield* say(`  unanswered     ${told.unanswered} that the kill caught half way`)
    yield* say(`  recovery       ${told.recoveryMillis} ms, ${told.generations} lives in all`)
    yield* say(`  in the file    ${stored} payments, ${lost} lost, ${doubled} twice\n`)
    if (!kept) return yield* new PromiseBroken({ lost, doubled })
    return yield* say("Kept: every acknowledged payment is stored exactly once.")
  }).pipe(Effect.scoped)
).pipe(Command.withDescription("Two accounts, one of them killed half way: is every promise kept?"))
