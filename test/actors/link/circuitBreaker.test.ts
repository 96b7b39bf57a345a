/**
 * Goal: work waits through an outage of bounded length, then fails at once until an attempt works.
 * Method: tables over a clock that is a number.
 */
import { assert, describe, it } from "@effect/vitest"
import { CircuitBreaker } from "../../../src/actors/link/CircuitBreaker.ts"

const settings = { patienceMs: 30_000, coolDownMs: 5_000 }

describe("CircuitBreaker", () => {
  it("R12: opens when an outage has lasted too long and no other attempt is under way", () => {
    const breaker = new CircuitBreaker(settings)
    assert.isFalse(breaker.failed(0, true))
    assert.isFalse(breaker.failed(29_999, true))
    assert.isFalse(breaker.failed(30_000, false))
    assert.isTrue(breaker.failed(30_001, true))
    assert.isTrue(breaker.isOpen(30_001))
    // When it has cooled down, one attempt decides.
    assert.isFalse(breaker.isOpen(35_001))
    breaker.begin()
    assert.isTrue(breaker.failed(35_001, true))
    assert.isTrue(breaker.isOpen(35_002))
  })

  it("R12: closes when data moves", () => {
    const breaker = new CircuitBreaker(settings)
    breaker.failed(0, true)
    assert.isTrue(breaker.isOutage)
    breaker.moved()
    assert.isFalse(breaker.isOutage)
    assert.isFalse(breaker.failed(40_000, true))
    assert.isTrue(breaker.failed(70_000, true))
    breaker.moved()
    assert.isFalse(breaker.isOpen(70_001))
  })

  it("R12: forgets an outage that no work waited through", () => {
    const breaker = new CircuitBreaker(settings)
    breaker.failed(0, true)
    breaker.begin()
    assert.isFalse(breaker.failed(90_000, true))
    assert.isTrue(breaker.failed(120_000, true))
  })

  it("R12: closes when a peer that was given up is connected again, and only then", () => {
    const breaker = new CircuitBreaker(settings)
    breaker.failed(0, true)
    breaker.connected()
    assert.isTrue(breaker.isOutage)
    assert.isTrue(breaker.failed(30_000, true))
    breaker.connected()
    assert.isFalse(breaker.isOpen(30_001))
    // That connection is lost at once, which begins an outage of full length.
    assert.isFalse(breaker.failed(30_002, true))
    breaker.connected()
    assert.isTrue(breaker.failed(60_002, true))
  })

  it("R12: counts an outage from the beginning of its first attempt", () => {
    const breaker = new CircuitBreaker(settings)
    assert.isFalse(breaker.failed(15_000, true, 0))
    assert.isTrue(breaker.failed(30_000, true, 15_050))
  })

  it("R12: lets only what is under way end an outage that has lasted too long", () => {
    const breaker = new CircuitBreaker(settings)
    breaker.failed(0, true)
    assert.isFalse(breaker.isSpent)
    breaker.failed(30_000, false)
    assert.isTrue(breaker.isSpent)
    breaker.begin()
    assert.isFalse(breaker.isSpent)
    breaker.failed(60_000, false)
    breaker.failed(90_000, false)
    assert.isTrue(breaker.isSpent)
    breaker.moved()
    assert.isFalse(breaker.isSpent)
    breaker.failed(100_000, true)
    assert.isTrue(breaker.failed(130_000, true))
    // The one attempt after the cool-down may begin.
    assert.isFalse(breaker.isSpent)
  })
})
