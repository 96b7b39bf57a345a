/**
 * Goal: the types hold callers and handlers to a program's schemas, and show what can fail.
 * Method: type assertions, checked by `npm run check`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expect, it } from "tstyche"
import * as RpcClient from "../../src/actors/rpc/RpcClient.ts"
import * as RpcProgram from "../../src/actors/rpc/RpcProgram.ts"
import type { Verbs } from "../../src/native/verbs/Verbs.ts"

class Missing extends Schema.TaggedError<Missing>()("Missing", { path: Schema.String }) {}
class Disk extends Context.Service<Disk, { readonly size: Effect.Effect<number> }>()("Disk") {}

const Read = Rpc.make("Read", {
  payload: { path: Schema.String, at: Schema.Int },
  success: Schema.Uint8Array,
  error: Missing
})
const Sync = Rpc.make("Sync")

const Files = RpcProgram.make({
  program: 0x2000_0001,
  version: 1,
  procedures: { 1: RpcProgram.procedure(Read, { isIdempotent: true }), 2: Sync }
})

const made = RpcClient.make(Files, { to: { host: "127.0.0.1", port: 1 } })
type Client = Effect.Success<typeof made>
declare const files: Client

describe("a typed client", () => {
  it("has one method for each procedure", () => {
    expect<keyof Client>().type.toBe<"Read" | "Sync">()
    expect(files.Read({ path: "a", at: 0 })).type.toBe<
      Effect.Effect<Uint8Array, Missing | RpcClient.CallError>
    >()
    expect(files.Sync()).type.toBe<Effect.Effect<void, RpcClient.CallError>>()
  })

  it("is held to the payload", () => {
    expect(files.Read).type.not.toBeCallableWith({ path: "a" })
    expect(files.Read).type.not.toBeCallableWith({ path: 1, at: 0 })
    expect(files.Read).type.toBeCallableWith({ path: "a", at: 0 }, {})
  })

  it("needs the provider and a Scope", () => {
    expect<Effect.Services<typeof made>>().type.toBe<Verbs | Scope.Scope>()
    expect<Effect.Error<typeof made>>().type.toBe<RpcClient.MakeError>()
  })
})

const read = () => Effect.succeed(new Uint8Array(1))
const sync = () => Effect.void

describe("a typed server", () => {
  it("needs what its handlers need", () => {
    const served = RpcProgram.implement(Files, {
      Read: ({ at, path }) => {
        expect(path).type.toBe<string>()
        expect(at).type.toBe<number>()
        return Effect.fail(new Missing({ path }))
      },
      Sync: (_, caller) => {
        expect(caller).type.toBe<RpcProgram.Caller>()
        return Effect.flatMap(Disk, ({ size }) => Effect.asVoid(size))
      }
    })
    expect(served).type.toBe<Effect.Effect<RpcProgram.Program, never, Disk>>()
  })

  it("implements every procedure, with its values and errors", () => {
    expect(RpcProgram.implement).type.toBeCallableWith(Files, { Read: read, Sync: sync })
    expect(RpcProgram.implement).type.not.toBeCallableWith(Files, { Read: read })
    expect(RpcProgram.implement).type.not.toBeCallableWith(Files, {
      Read: () => Effect.succeed("text"),
      Sync: sync
    })
    expect(RpcProgram.implement).type.not.toBeCallableWith(Files, {
      Read: read,
      Sync: () => Effect.fail(new Missing({ path: "a" }))
    })
  })
})

describe("what is said of a procedure", () => {
  it("sees its payload", () => {
    RpcProgram.procedure(Read, {
      longest: (payload) => {
        expect(payload).type.toBe<{ readonly path: string; readonly at: number }>()
        return { bulk: [payload.at] }
      }
    })
  })
})
