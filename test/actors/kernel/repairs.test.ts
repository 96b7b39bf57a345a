/**
 * Goal: it is known of each child which repair it is in, whatever becomes of earlier ones.
 * Method: two repairs of one child, the first of which ends after the second has replaced it.
 */
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Child } from "../../../src/actors/kernel/internal/child.ts"
import { Repairs } from "../../../src/actors/kernel/internal/repairs.ts"
import { settle } from "./journals.ts"

it.effect("a repair that ends late leaves its children in the one that has replaced it", () =>
  Effect.gen(function* () {
    const repairs = new Repairs(Context.empty())
    const child = {} as Child
    const [first, second] = [Latch.makeUnsafe(false), Latch.makeUnsafe(false)]
    repairs.run([child], first.await)
    const [replaced] = repairs.of([child])
    repairs.run([child], second.await)
    first.openUnsafe()
    yield* settle
    const [current] = repairs.of([child])
    assert.isDefined(current)
    assert.notStrictEqual(current, replaced)
    assert.deepStrictEqual([...repairs.all], [current])
    second.openUnsafe()
    yield* settle
    assert.strictEqual(repairs.all.size, 0)
  })
)
