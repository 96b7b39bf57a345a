/**
 * Goal: a trace shows what a transfer did and waited for: the transfer, each attempt to open a
 * link, and each call of its handshake, with both paths and how it ended (R32).
 * Method: an engine of the lab, or an endpoint and a scripted peer, under a tracer that keeps all.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import { HandshakeFailed } from "../../../src/actors/endpoint/Handshake.ts"
import { it } from "../../../src/testing/vitest.ts"
import { half, scene } from "../endpoint/scriptedPeer.ts"
import { pair, shared } from "./harness.ts"

const collecting = (spans: Array<Tracer.Span>) =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })

/** Names, attributes and outcomes of the spans that a prefix names, in their order. */
const told = (spans: ReadonlyArray<Tracer.Span>, prefix: string) =>
  spans
    .filter(({ name }) => name.startsWith(prefix))
    .map(({ attributes, name, status }) =>
      Object.fromEntries([
        ["name", name],
        ...[...attributes].map(([key, value]) => [key.replace("handfast.", ""), value] as const),
        ["outcome", status._tag === "Ended" ? status.exit._tag : status._tag]
      ])
    )

const traced = <A, E, R>(test: (spans: Array<Tracer.Span>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const spans: Array<Tracer.Span> = []
    return Effect.withTracer(test(spans), collecting(spans))
  })

describe("spans", () => {
  it.sim("R32: tell of a transfer and of each attempt to open a link", { seeds: 3 }, () =>
    traced((spans) =>
      Effect.gen(function* () {
        let failures = 2
        const refused = Effect.fail({ _tag: "Refused", message: "not now" })
        const obstacle = () => Effect.suspend(() => (failures-- > 0 ? refused : Effect.void))
        const { a, b } = yield* pair({ wires: { obstacle } })
        const own = yield* shared(a, "own", 1000, 1)
        yield* shared(b, "kept", 1000)
        yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        yield* Effect.exit(a.write({ peer: "b", from: own.slice(), to: { buffer: "none" } }))
        const attempt = { name: "TransferEngine.open", local: "a@sim0", peer: "b@sim0" }
        const transfer = { name: "TransferEngine.transfer", peer: "b", operations: 1 }
        assert.deepStrictEqual(told(spans, "TransferEngine."), [
          { ...transfer, outcome: "Success" },
          { ...attempt, outcome: "Failure" },
          { ...attempt, outcome: "Failure" },
          { ...attempt, outcome: "Success" },
          { ...transfer, outcome: "Failure" }
        ])
      })
    )
  )

  it.sim("R32: tell of each call of a handshake, also of those in vain", { seeds: 3 }, () =>
    traced((spans) =>
      scene(({ host, peer }) =>
        Effect.gen(function* () {
          let failures = 2
          const detail = "no answer"
          const failure = new HandshakeFailed({ peer: peer.path, step: "answer", detail })
          peer.acknowledged = () =>
            Effect.suspend(() => (failures-- > 0 ? Effect.die(failure) : Effect.void))
          peer.answering(half(1, "aaaaaaaa.1"))
          const { epoch } = yield* host.store.open(peer.path)
          const call = (name: string, outcome: Exit.Exit<void>["_tag"], of: Epoch = epoch) => ({
            name: `Endpoint.${name}`,
            local: host.nic.path,
            peer: peer.path,
            epoch: of,
            outcome
          })
          assert.deepStrictEqual(told(spans, "Endpoint."), [
            call("offer", "Success"),
            call("acknowledge", "Failure"),
            call("acknowledge", "Failure"),
            call("acknowledge", "Success")
          ])
        })
      )
    )
  )
})
