/**
 * Goal: what users of the journal see in their editor stays as it is.
 * Method: type assertions, checked by `npm run check`.
 */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { describe, expect, it } from "tstyche"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import type { JournalError } from "../../src/schema/JournalRecord.ts"

describe("Journal", () => {
  it("is a service whose memory layer needs nothing and cannot fail", () => {
    expect(Journal.layerMemory).type.toBe<Layer.Layer<Journal>>()
  })

  it("appends without a result, and with the errors that an operator tells apart", () => {
    expect<ReturnType<Store["append"]>>().type.toBe<Effect.Effect<void, JournalError>>()
  })
})
