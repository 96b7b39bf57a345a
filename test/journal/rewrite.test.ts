/**
 * Goal: an older program can go on with a history that a newer one has continued, on a copy that
 * was brought back, and a rewrite that fails leaves nothing behind.
 * Method: two versions of a behavior over real files; records that are damaged by SQL.
 */
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../src/actors/kernel/Decision.ts"
import { Journal, type RewriteSettings } from "../../src/actors/kernel/Journal.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)
const open = (file: string) => Journal.layerSqlite({ file })

const Sell = Rpc.make("Sell", { payload: { euros: Schema.Int }, success: Schema.Int })
const tags = () => ["sold"]
const policy = { every: 3, keep: 1, deleteEvents: true }
const keepsEvents = { ...policy, deleteEvents: false }

const Old = Behavior.make("Shop", {
  commands: [Sell],
  events: Schema.TaggedStruct("Sold", { euros: Schema.Int }),
  initial: { euros: 0 },
  decide: {
    Sell: (_, { euros }) =>
      Decision.persist({ _tag: "Sold" as const, euros }).pipe(
        Decision.thenReply((shop: { euros: number }) => shop.euros)
      )
  },
  evolve: { Sold: (shop, { euros }) => ({ euros: shop.euros + euros }) },
  tags,
  snapshot: { ...policy, state: Schema.Struct({ euros: Schema.Int }) }
})

const inCents = ({ euros, ...rest }: Record<string, unknown>) => ({
  ...rest,
  cents: Number(euros) * 100
})
const inEuros = ({ cents, ...rest }: Record<string, unknown>) => ({
  ...rest,
  euros: Number(cents) / 100
})

const newer = (policy: typeof keepsEvents) =>
  Behavior.make("Shop", {
    commands: [Sell],
    events: Schema.TaggedStruct("Sold", { cents: Schema.Int }),
    initial: { cents: 0 },
    decide: {
      Sell: (_, { euros }) =>
        Decision.persist({ _tag: "Sold" as const, cents: euros * 100 }).pipe(
          Decision.thenReply((shop: { cents: number }) => shop.cents)
        )
    },
    evolve: { Sold: (shop, { cents }) => ({ cents: shop.cents + cents }) },
    tags,
    upcasts: [inCents],
    snapshot: { ...policy, state: Schema.Struct({ cents: Schema.Int }), upcasts: [inCents] }
  })

const New = newer(policy)

type Shop<State, Sold extends Behavior.Tagged> = Behavior.Behavior<
  State,
  typeof Sell,
  never,
  Sold,
  Journal
>

const sell = Effect.fnUntraced(function* <State, Sold extends Behavior.Tagged>(
  behavior: Shop<State, Sold>,
  count: number
) {
  const shop = yield* Actor.spawn(behavior, "a")
  let sum = 0
  for (let n = 0; n < count; n++) sum = yield* shop.ask.Sell({ euros: 1 })
  return sum
}, Effect.scoped)

const back = <A extends { readonly version: number; readonly body: string }>(record: A): A =>
  record.version === 2
    ? { ...record, version: 1, body: JSON.stringify(inEuros(JSON.parse(record.body))) }
    : record

const settings = (from: string): RewriteSettings => ({
  from,
  to: freshFile(),
  event: back,
  snapshot: back
})

/** A history that the old program began and the new one continued, with a projection half read. */
const continued = Effect.fnUntraced(function* () {
  const file = freshFile()
  yield* Effect.gen(function* () {
    yield* sell(Old, 2)
    yield* sell(New, 8)
    const journal = yield* Journal
    yield* journal.register({ name: "sales", tag: "sold" })
    yield* journal.acknowledge({ name: "sales", tag: "sold" }, 9)
  }).pipe(Effect.provide(open(file)))
  return file
})

describe("a history that a newer program has continued", () => {
  it.live("J6: is refused by the older one, with the way back", () =>
    Effect.gen(function* () {
      const file = yield* continued()
      const error = yield* Effect.flip(Effect.provide(sell(Old, 1), open(file)))
      assert.strictEqual(error._tag, "HistoryRefused")
      assert.include(error.message, "version 2")
      assert.include(error.message, "Journal.rewriteSqlite")
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.live("J6: is brought back on a copy, on which the older program goes on", () =>
    Effect.gen(function* () {
      const file = yield* continued()
      const copy = settings(file)
      yield* Journal.rewriteSqlite(copy)
      assert.strictEqual(yield* Effect.provide(sell(Old, 1), open(copy.to)), 11)
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        assert.strictEqual(yield* journal.register({ name: "sales", tag: "sold" }), 9)
        const found = yield* Stream.runCollect(journal.tagged("sold", 9))
        assert.deepStrictEqual(
          found.map(({ body, offset, seq, version }) => ({ body, offset, seq, version })),
          [10, 11].map((n) => ({
            body: '{"_tag":"Sold","euros":1}',
            offset: n,
            seq: n,
            version: 1
          }))
        )
      }).pipe(Effect.provide(open(copy.to)))
    })
  )

  it.live("J6: stays as it is for the newer program, which reads the copy, too", () =>
    Effect.gen(function* () {
      const file = yield* continued()
      const copy = settings(file)
      yield* Journal.rewriteSqlite(copy)
      assert.strictEqual(yield* Effect.provide(sell(New, 1), open(file)), 1100)
      assert.strictEqual(yield* Effect.provide(sell(New, 1), open(copy.to)), 1100)
    })
  )

  it.live("J6: is copied without changes, and without its snapshots", () =>
    Effect.gen(function* () {
      const from = freshFile()
      const Keeping = newer(keepsEvents)
      yield* Effect.provide(sell(Keeping, 7), open(from))
      const to = freshFile()
      yield* Journal.rewriteSqlite({ from, to, snapshot: () => undefined })
      const load = Effect.flatMap(Journal, (journal) => journal.loadSnapshot("Shop/a"))
      assert.isTrue(Option.isNone(yield* Effect.provide(load, open(to))))
      assert.strictEqual(yield* Effect.provide(sell(Keeping, 1), open(to)), 800)
    })
  )

  it.live(
    "J6: is copied without its newest snapshot where an older one stands for what is gone",
    () =>
      Effect.gen(function* () {
        const file = freshFile()
        yield* Effect.gen(function* () {
          const journal = yield* Journal
          const claim = yield* journal.claim("Shop/a")
          const sold = {
            type: "Sold",
            version: 1,
            body: '{"_tag":"Sold","euros":1}',
            at: 0,
            tags: []
          }
          const events = Array.from({ length: 6 }, () => sold)
          yield* journal.append({ ...claim, expected: 0, events })
          for (const seq of [3, 6]) {
            const body = JSON.stringify({ euros: seq })
            yield* journal.saveSnapshot(claim, { actor: claim.actor, seq, version: 1, body, at: 0 })
          }
          yield* journal.prune(claim, { eventsTo: 3 })
        }).pipe(Effect.provide(open(file)))
        const copy: RewriteSettings = {
          ...settings(file),
          snapshot: (before) => (before.seq === 6 ? undefined : before)
        }
        yield* Journal.rewriteSqlite(copy)
        assert.strictEqual(yield* sell(Old, 1).pipe(Effect.provide(open(copy.to))), 7)
      })
  )
})

describe("a rewrite that fails", () => {
  const leavesNothing = (to: string) => {
    assert.isFalse(existsSync(to))
    assert.deepStrictEqual(
      readdirSync(directory).filter((name) => name.includes(".part")),
      []
    )
  }

  it.live("J6: leaves a file alone that is there already", () =>
    Effect.gen(function* () {
      const copy = settings(yield* continued())
      writeFileSync(copy.to, "precious")
      const error = yield* Effect.flip(Journal.rewriteSqlite(copy))
      assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason: "io" })
      assert.include(error.message, `${copy.to} exists`)
    })
  )

  for (const end of ["-wal", "-shm", "-journal"]) {
    it.live(`F10: leaves a ${end} alone that lies beside the new file`, () =>
      Effect.gen(function* () {
        const copy = settings(yield* continued())
        writeFileSync(copy.to + end, "stale")
        const error = yield* Effect.flip(Journal.rewriteSqlite(copy))
        assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason: "io" })
        assert.include(error.message, `${copy.to}${end} exists`)
        assert.strictEqual(readFileSync(copy.to + end, "utf8"), "stale")
        leavesNothing(copy.to)
      })
    )
  }

  it.live("F10: leaves a link alone that leads to no file", () =>
    Effect.gen(function* () {
      const copy = settings(yield* continued())
      symlinkSync(freshFile(), copy.to)
      const error = yield* Effect.flip(Journal.rewriteSqlite(copy))
      assert.include(error.message, `${copy.to} exists`)
      assert.isTrue(lstatSync(copy.to).isSymbolicLink())
    })
  )

  for (const [kind, reason, make] of [
    ["missing", "io", () => undefined],
    ["empty", "not-a-journal", (file: string) => writeFileSync(file, "")]
  ] as const) {
    it.live(`F10: makes no journal of the ${kind} file`, () =>
      Effect.gen(function* () {
        const copy = settings(freshFile())
        make(copy.from)
        const error = yield* Effect.flip(Journal.rewriteSqlite(copy))
        assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason })
        assert.strictEqual(statSync(copy.from, { throwIfNoEntry: false })?.size ?? 0, 0)
        leavesNothing(copy.to)
      })
    )
  }

  it.live("F10: does not remove a journal that is named like its unfinished copy", () =>
    Effect.gen(function* () {
      const to = freshFile()
      const from = `${to}.part`
      renameSync(yield* continued(), from)
      const error = yield* Effect.flip(Journal.rewriteSqlite({ from, to }))
      assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason: "io" })
      assert.strictEqual(yield* Effect.provide(sell(New, 1), open(from)), 1100)
      rmSync(from)
      rmSync(`${from}-lock`)
    })
  )

  const refuses = (what: string, changes: Partial<RewriteSettings>, message: string) =>
    it.live(`F10: makes no file of ${what}`, () =>
      Effect.gen(function* () {
        const copy = { ...settings(yield* continued()), ...changes }
        const exit = yield* Effect.exit(Journal.rewriteSqlite(copy))
        assert.isTrue(Exit.hasDies(exit))
        assert.include(String(exit), message)
        leavesNothing(copy.to)
      })
    )

  refuses(
    "a history without its beginning and without a snapshot",
    { snapshot: () => undefined },
    "the last snapshot of Shop/a is left out"
  )
  for (const version of [0, 1.5, NaN]) {
    refuses(
      `an event of version ${version}`,
      { event: (event) => ({ ...event, version }) },
      `${version} is not a version`
    )
  }
  for (const [body, message] of [
    ["{", "cannot be rewritten: SyntaxError"],
    ['"\ud800"', "lone surrogate"]
  ] as const) {
    const event: RewriteSettings["event"] = (before) => ({ ...before, body })
    refuses(`an event ${JSON.stringify(body)}`, { event }, message)
    const snapshot: RewriteSettings["snapshot"] = (before) => ({ ...before, body })
    refuses(`a snapshot ${JSON.stringify(body)}`, { snapshot }, message)
  }

  it.live("J6: is refused while the journal is in use", () =>
    Effect.gen(function* () {
      const file = yield* continued()
      const copy = settings(file)
      const error = yield* Effect.flip(Journal.rewriteSqlite(copy)).pipe(Effect.provide(open(file)))
      assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason: "locked" })
      leavesNothing(copy.to)
    })
  )

  for (const [kind, sql] of [
    ["event", "UPDATE events SET body = '{}' WHERE offset = 10"],
    ["snapshot", "UPDATE snapshots SET version = 3"]
  ] as const) {
    it.live(`J6: names a damaged ${kind}, and makes no file`, () =>
      Effect.gen(function* () {
        const file = yield* continued()
        const database = new DatabaseSync(file)
        database.exec(sql)
        database.close()
        const copy = settings(file)
        const error = yield* Effect.flip(Journal.rewriteSqlite(copy))
        assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind, file, actor: "Shop/a" })
        leavesNothing(copy.to)
      })
    )
  }

  it.live("J6: makes no file when a function throws", () =>
    Effect.gen(function* () {
      const copy = settings(yield* continued())
      const event = (): never => {
        throw new Error("no way back")
      }
      const exit = yield* Effect.exit(Journal.rewriteSqlite({ ...copy, event }))
      assert.isTrue(Exit.hasDies(exit))
      leavesNothing(copy.to)
    })
  )
})
