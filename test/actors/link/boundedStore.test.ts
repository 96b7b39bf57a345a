/**
 * Goal: a store keeps to its limits, gives up only what may go, and strangers drive out no entry
 * that this side uses.
 * Method: tables, and random steps beside a model that keeps the rules in one list.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { BoundedStore } from "../../../src/actors/link/BoundedStore.ts"

const free = () => true

/** Adds an entry as callers do: it makes room first. Returns the key that went for it. */
const put = <V>(
  store: BoundedStore<string, V>,
  key: string,
  value: V,
  by: "local" | "peer",
  mayGo: (value: V) => boolean = free
): string | undefined => {
  const victim = store.limitReached(by) === undefined ? undefined : store.evict(by, mayGo)
  store.add(key, value, by)
  return victim?.[0]
}

describe("BoundedStore", () => {
  it("R28: gives up the entry that was not used, by SIEVE", () => {
    const store = new BoundedStore<string, number>({ capacity: 3, guests: 3 })
    for (const key of ["a", "b", "c"]) put(store, key, 1, "local")
    store.use("a", "local")
    assert.strictEqual(put(store, "d", 1, "local"), "b")
    assert.strictEqual(store.size, 3)
  })

  it("R28: gives up the oldest entry by FIFO, used or not", () => {
    const store = new BoundedStore<string, number>({ capacity: 2, guests: 2 }, "fifo")
    for (const key of ["a", "b"]) put(store, key, 1, "local")
    store.use("a", "local")
    assert.strictEqual(put(store, "c", 1, "local"), "a")
  })

  it("R28: gives up nothing that is in use", () => {
    const store = new BoundedStore<string, boolean>({ capacity: 2, guests: 2 })
    for (const key of ["a", "b"]) put(store, key, false, "local")
    assert.strictEqual(store.limitReached("local"), 2)
    assert.isUndefined(store.evict("local", (mayGo) => mayGo))
    assert.strictEqual(store.size, 2)
  })

  it("R28: guests give way to one another, and to no limit but their own", () => {
    const store = new BoundedStore<string, number>({ capacity: 10, guests: 2 })
    put(store, "mine", 1, "local")
    for (const key of ["a", "b"]) put(store, key, 1, "peer")
    assert.strictEqual(store.limitReached("peer"), 2)
    assert.isUndefined(store.limitReached("local"))
    assert.strictEqual(put(store, "c", 1, "peer"), "a")
    // What this side uses is no guest any more.
    store.use("b", "local")
    assert.isUndefined(store.limitReached("peer"))
    assert.isUndefined(put(store, "d", 1, "peer"))
    assert.strictEqual(put(store, "e", 1, "peer"), "c")
    assert.strictEqual(store.get("b"), 1)
  })

  it("refuses an entry for which no room was made", () => {
    const store = new BoundedStore<string, number>({ capacity: 1, guests: 1 })
    store.add("a", 1, "local")
    assert.throws(() => store.add("b", 1, "local"), "no room")
    assert.throws(() => store.add("a", 1, "local"), "already")
  })

  const key = Schema.Literals(["a", "b", "c", "d", "e", "f", "g", "h"])
  const by = Schema.Literals(["local", "peer"])
  const steps = Arbitrary.array(
    Arbitrary.schema(
      Schema.Union([
        Schema.Struct({ do: Schema.Literals(["find", "find", "hold"]), key, by }),
        Schema.Struct({ do: Schema.Literal("delete"), key, by })
      ])
    ),
    { maxLength: 80 }
  )

  it.prop("keeps every limit, and evicts only at one", [steps], ([given]) => {
    const limits = { capacity: 4, guests: 2 }
    const store = new BoundedStore<string, { readonly key: string }>(limits)
    const held = new Set<string>()
    const guests = new Map<string, boolean>()
    for (const step of given) {
      if (step.do === "hold") held.add(step.key)
      else if (step.do === "delete") {
        store.delete(step.key)
        guests.delete(step.key)
        held.delete(step.key)
      } else if (store.use(step.key, step.by) !== undefined) {
        assert.isTrue(guests.has(step.key))
        if (step.by === "local") guests.set(step.key, false)
      } else {
        assert.isFalse(guests.has(step.key))
        const crowd = [...guests.values()].filter((isGuest) => isGuest).length
        const isCrowded = step.by === "peer" && crowd >= limits.guests
        const limit = store.limitReached(step.by)
        const full = guests.size >= limits.capacity ? limits.capacity : undefined
        assert.strictEqual(limit, isCrowded ? limits.guests : full)
        if (limit !== undefined) {
          const victim = store.evict(step.by, ({ key }) => !held.has(key))
          const possible = [...guests].filter(
            ([one, isGuest]) => !held.has(one) && (isGuest || !isCrowded)
          )
          assert.strictEqual(victim === undefined, possible.length === 0)
          if (victim === undefined) continue
          assert.include(
            possible.map(([one]) => one),
            victim[0]
          )
          guests.delete(victim[0])
        }
        store.add(step.key, { key: step.key }, step.by)
        guests.set(step.key, step.by === "peer")
      }
      assert.strictEqual(store.size, guests.size)
      assert.sameMembers(
        store.values.map(({ key }) => key),
        [...guests.keys()]
      )
    }
  })
})
