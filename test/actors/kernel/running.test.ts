/**
 * Goal: an address has one holder within a process and a journal, until it is freed.
 * Method: cells that are nothing but their address.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import { Epochs } from "../../../src/actors/kernel/Epochs.ts"
import type { Cell } from "../../../src/actors/kernel/internal/cell.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { freeAddress, takeAddress } from "../../../src/actors/kernel/internal/running.ts"
import { EpochSource } from "../../../src/schema/Epoch.ts"

const journal = makeMemory()
const process = (instance: number) => Context.make(Epochs, new EpochSource(instance))
const here = process(1)

const cellOf = (context: Context.Context<never>, name = "Worker", id = "a") =>
  ({ context, definition: { name }, id, journal, address: `${name}/${id}` }) as Cell

describe("an address (K10)", () => {
  it("is held until its holder frees it, and by no other cell", () => {
    const [first, second] = [cellOf(here), cellOf(here)]
    assert.isUndefined(takeAddress(first))
    assert.strictEqual(takeAddress(second), first)
    freeAddress(second)
    assert.strictEqual(takeAddress(second), first)
    freeAddress(first)
    assert.isUndefined(takeAddress(second))
    freeAddress(second)
  })

  it("is held although another name and id make it", () => {
    const [first, second] = [cellOf(here, "Shop/Cart", "1"), cellOf(here, "Shop", "Cart/1")]
    assert.isUndefined(takeAddress(first))
    assert.strictEqual(takeAddress(second), first)
    assert.isUndefined(takeAddress(cellOf(here, "Shop", "Cart/2")))
    freeAddress(first)
    assert.isUndefined(takeAddress(second))
    freeAddress(second)
  })

  it("of another process is another one", () => {
    const [first, second] = [cellOf(here), cellOf(process(2))]
    assert.isUndefined(takeAddress(first))
    assert.isUndefined(takeAddress(second))
    freeAddress(first)
  })
})
