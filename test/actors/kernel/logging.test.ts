/**
 * Goal: looking at a cause and logging it never fails, and the operator reads what can be read.
 * Method: causes that throw when they are printed, and loggers that throw.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { CurrentLogAnnotations } from "effect/References"
import {
  describe as describeCause,
  explain,
  hasError,
  report
} from "../../../src/actors/kernel/internal/logging.ts"

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const boom = (): never => {
  throw new Error("boom")
}

/** What behaviors may throw or fail with. */
const hostile = {
  "an error whose message throws": Object.defineProperty(new Error(), "message", { get: boom }),
  "an error whose stack throws": Object.defineProperty(new Error(), "stack", { get: boom }),
  "a revoked proxy": revoked(),
  "an object without a prototype": Object.create(null) as object,
  "an object that is no JSON": { toJSON: boom, toString: boom }
}

/** A logger that prints each cause, and throws at what `fails` chooses. */
const listing = (fails: (line: string) => boolean) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, fiber, logLevel, message }) => {
    const line = `${logLevel} ${String(message)} ${Cause.pretty(cause)}`
    if (fails(line)) boom()
    lines.push(`${line} ${JSON.stringify(fiber.getRef(CurrentLogAnnotations))}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

for (const [what, thrown] of Object.entries(hostile)) {
  describe(what, () => {
    for (const cause of [Cause.die(thrown), Cause.fail(thrown)]) {
      const kind = Cause.hasDies(cause) ? "a defect" : "an error"
      it.effect(`as ${kind} is described, searched and logged`, () =>
        Effect.gen(function* () {
          assert.isString(describeCause(cause))
          assert.isString(explain(cause))
          assert.isFalse(hasError(cause, (error) => error instanceof RangeError))
          const { layer, lines } = listing(() => false)
          yield* Effect.provide(report("Error", "it failed", cause, { actor: "a" }), layer)
          assert.strictEqual(lines.length, 1)
          assert.match(lines[0]!, /^ERROR it failed|^Error it failed/)
          assert.include(lines[0]!, '{"actor":"a"}')
        })
      )
    }
  })
}

describe("report", () => {
  it.effect("gives a logger that has thrown the cause as text", () =>
    Effect.gen(function* () {
      let thrown = 0
      const { layer, lines } = listing(() => thrown++ === 0)
      const cause = Cause.die(new Error("why"))
      yield* Effect.provide(report("Warn", "it failed", cause, {}), layer)
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0]!, /it failed: Error: why/)
    })
  )

  it.effect("succeeds although every logger throws", () =>
    Effect.gen(function* () {
      const { layer, lines } = listing(() => true)
      yield* Effect.provide(report("Error", "it failed", Cause.fail("why"), {}), layer)
      assert.deepStrictEqual(lines, [])
    })
  )
})

it("finds an error among the reasons of a cause", () => {
  const cause = Cause.combine(Cause.die(new RangeError()), Cause.fail(new TypeError()))
  assert.isTrue(hasError(cause, (error) => error instanceof TypeError))
  assert.isFalse(hasError(cause, (error) => error instanceof RangeError))
})
