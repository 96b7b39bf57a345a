/**
 * Goal: the certificates of a running node can be replaced, and no link is lost by it (G24).
 * Method: two nodes whose TLS settings are an effect; their authority is replaced in two steps, as
 * administrators do, and a third node that knows the new one alone joins them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { BusNode, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { IoPool, type TlsSettings } from "../../../src/native/io/IoPool.ts"
import { certificateOf } from "../../native/io/certificate.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { stateOf } from "./live.ts"
import { until } from "./servers.ts"

/** A certificate that is its own authority. */
const renewed = certificateOf("renewed")
const old = tlsOf("client")
const both = `${old.ca}\n${renewed.cert}`

const node = (tls: NonNullable<Settings["tls"]>) =>
  Effect.gen(function* () {
    const layer = BusNode.layerEphemeral({ tls, admit: "anyone", nodeTimeoutMs: 4_000 })
    return yield* Effect.provide(BusNode, yield* Layer.build(Layer.fresh(layer)))
  })

const chain = (settings: Partial<TlsSettings>): TlsSettings => ({ ...settings, verify: "chain" })
const { ca, cert, key } = old as Required<Pick<TlsSettings, "ca" | "cert" | "key">>

describe("the certificates of a node (G24)", () => {
  it.live("are replaced in two steps while every link stays", () =>
    Effect.gen(function* () {
      let tls = chain({ ca, cert, key })
      const asked = Effect.sync(() => tls)
      const [first, second] = [yield* node(asked), yield* node(asked)]
      yield* first.meet(second.address)
      const isJoined = Effect.map(stateOf(second, first.id), (state) => state === "connected")
      yield* until(isJoined)
      const dials = Effect.map(first.health, ({ counts }) => counts.dials)
      const before = yield* dials
      for (const step of [{ ca: both, cert, key }, { ca: both, ...renewed }, renewed]) {
        tls = chain({ ca: renewed.cert, ...step })
        yield* first.reload
        yield* second.reload
      }
      const third = yield* node(chain({ ca: renewed.cert, ...renewed }))
      // Both have to take its connections, and it takes theirs.
      yield* third.meet(first.address)
      yield* until(Effect.map(stateOf(second, third.id), (state) => state === "connected"))
      assert.strictEqual((yield* first.links).length, 4)
      assert.strictEqual(yield* dials, before + 1)
      // Whoever knows the old authority alone is not taken any more.
      const late = yield* node(chain({ ca, cert, key }))
      assert.strictEqual((yield* Effect.flip(late.meet(first.address))).reason, "TlsRefused")
    }).pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1, closeWithinMs: 200 })))
  )

  it.live("that cannot be used change nothing, and say so", () =>
    Effect.gen(function* () {
      let tls: Effect.Effect<TlsSettings, string> = Effect.succeed(chain({ ca, cert, key }))
      const first = yield* node(Effect.suspend(() => tls))
      const { certificateDays } = yield* first.health
      assert.isAbove(certificateDays ?? 0, 0)
      const unusable = [
        Effect.succeed(chain({ ca, cert, key: renewed.key })),
        Effect.succeed(chain({ ca, cert: "none", key })),
        Effect.fail("no such file")
      ]
      for (const wrong of unusable) {
        tls = wrong
        const refused = yield* Effect.flip(first.reload)
        assert.deepInclude(refused, { _tag: "BusRefused", reason: "NoCertificates" })
      }
      assert.strictEqual((yield* first.health).certificateDays, certificateDays)
      const second = yield* node(chain({ ca, cert, key }))
      yield* second.meet(first.address)
      const never = node(Effect.fail("no such file"))
      assert.deepInclude(yield* Effect.flip(never), { reason: "NoCertificates" })
    }).pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1, closeWithinMs: 200 })))
  )
})
