/**
 * Goal: a program that is declared once by schemas has a typed client and a typed server, in XDR
 * and in SchemaBinary: values and errors come back as they were, large ones by chunks.
 * Method: both ends of such programs on a simulated fabric; and an end of bytes against a typed
 * one, which shows what is on the wire.
 */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import * as RpcProgram from "../../../src/actors/rpc/RpcProgram.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { authSys, readAuthSys } from "../../../src/schema/rpc/RpcMessage.ts"
import * as Xdr from "../../../src/schema/rpc/XdrSchema.ts"
import { it } from "../../../src/testing/vitest.ts"
import { pattern } from "./world.ts"

const mebibyte = 1 << 20
const number = { program: 0x2000_0002, version: 3 }

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { status: Xdr.Uint32 }) {}

const Read = Rpc.make("Read", {
  payload: { path: Xdr.Text(255), length: Xdr.Uint32 },
  success: Schema.Struct({ isEnd: Schema.Boolean, data: Xdr.Bulk(mebibyte) }),
  error: NotFound
})
const Write = Rpc.make("Write", {
  payload: { path: Xdr.Text(255), data: Xdr.Bulk(mebibyte) },
  success: Xdr.Uint32
})
const Who = Rpc.make("Who", { success: Xdr.Text(64) })

const files = {
  ...number,
  procedures: {
    6: RpcProgram.procedure(Read, {
      isIdempotent: true,
      longest: ({ length }) => ({ bulk: [length] })
    }),
    7: Write,
    9: Who
  }
}
const XdrFiles = RpcProgram.make({ ...files, encoding: "xdr" })
const BinaryFiles = RpcProgram.make({
  ...files,
  procedures: {
    ...files.procedures,
    6: RpcProgram.procedure(Read, { longest: ({ length }) => ({ bulk: [length + 100] }) })
  }
})

/** The same, by the length of the whole value. */
const BinaryFilesByBytes = RpcProgram.make({
  ...files,
  procedures: {
    ...files.procedures,
    6: RpcProgram.procedure(Read, { longest: ({ length }) => ({ bytes: length + 100 }) })
  }
})

class Disk extends Context.Service<Disk, { readonly writes: Map<string, number> }>()("Disk") {}

const implementation = (program: typeof XdrFiles) =>
  RpcProgram.implement(program, {
    Read: ({ length, path }) =>
      path === "none"
        ? Effect.fail(new NotFound({ status: 2 }))
        : Effect.succeed({ isEnd: true, data: pattern(length, 7) }),
    Write: Effect.fnUntraced(function* ({ data, path }) {
      const { writes } = yield* Disk
      writes.set(path, (writes.get(path) ?? 0) + data.length)
      assert.deepStrictEqual(data, pattern(data.length, 5))
      return data.length
    }),
    Who: (_, { credential, principal }) =>
      Effect.succeed(`${readAuthSys(credential)?.machine} at ${principal}`)
  })

const onHost = (fabric: SimFabric, host: string) => Effect.provide(SimVerbs.layer(fabric, { host }))

const makeWorld = Effect.fnUntraced(function* (program: typeof XdrFiles) {
  const fabric = yield* SimFabric.make()
  const writes = new Map<string, number>()
  const served = yield* Effect.provideService(implementation(program), Disk, { writes })
  const server = yield* RpcServer.make({ programs: [served], open: true, host: "*" }).pipe(
    onHost(fabric, "server")
  )
  const client = yield* RpcClient.make({ to: server.address, ...number }).pipe(
    onHost(fabric, "client")
  )
  return { fabric, writes, server, client, files: client.methods(program) }
})

describe("a program declared by schemas", () => {
  for (const [encoding, program] of [
    ["xdr", XdrFiles],
    ["binary", BinaryFiles],
    ["binary by its bytes", BinaryFilesByBytes]
  ] as const) {
    it.sim(`D3: carries values of every size both ways, ${encoding}`, { seeds: 2 }, () =>
      Effect.gen(function* () {
        const { client, fabric, files, writes } = yield* makeWorld(program)
        let written = 0
        for (const size of [0, 1, 900, 1_000, 3_900, 4_096, 5_001, mebibyte]) {
          const page = yield* files.Read({ path: "a", length: size })
          assert.deepStrictEqual(page, { isEnd: true, data: pattern(size, 7) }, `${size} bytes`)
          assert.strictEqual(yield* files.Write({ path: "a", data: pattern(size, 5) }), size)
          written += size
        }
        assert.deepStrictEqual([...writes], [["a", written]])
        assert.deepStrictEqual(client.usage, { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 })
        assert.strictEqual(fabric.counters.rnrs, 0)
      })
    )

    it.sim(`has typed errors and a credential, ${encoding}`, { seeds: 2 }, () =>
      Effect.gen(function* () {
        const { files } = yield* makeWorld(program)
        const error = yield* Effect.flip(files.Read({ path: "none", length: mebibyte }))
        assert.deepStrictEqual(error, new NotFound({ status: 2 }))
        const credential = authSys({ stamp: 1, machine: "me", uid: 0, gid: 0, gids: [] })
        assert.match(yield* files.Who(undefined, { credential }), /^me at /)
      })
    )
  }

  it.sim("is ONC RPC in XDR to a caller of bytes", { seeds: 1 }, () =>
    Effect.gen(function* () {
      const { client } = yield* makeWorld(XdrFiles)
      const argsOf = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex")
      const read = (hex: string) => client.call({ procedure: 6, args: argsOf(hex) })
      const good = yield* read("00000001 61000000 00000002")
      const data = Buffer.from(pattern(2, 7)).toString("hex")
      assert.strictEqual(
        Buffer.from(good.results).toString("hex"),
        `000000000000000100000002${data}0000`
      )
      const bad = yield* read("00000004 6e6f6e65 00000002")
      assert.strictEqual(Buffer.from(bad.results).toString("hex"), "00000002")
      const error = yield* Effect.flip(read("00000004 6e6f6e65"))
      assert.strictEqual(error._tag === "CallRefused" && error.reason, "garbage-args")
    })
  )

  it.sim("meets results that are none of its schema by a typed error", { seeds: 1 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const handler = () => Effect.succeed({ results: new Uint8Array(3) })
      const programs = [{ ...number, procedures: { 6: { handler }, 7: { handler } } }]
      const { address: to } = yield* RpcServer.make({ programs, open: true, host: "*" }).pipe(
        onHost(fabric, "server")
      )
      const files = yield* RpcClient.make(XdrFiles, { to }).pipe(onHost(fabric, "client"))
      const errors = [
        yield* Effect.flip(files.Read({ path: "a", length: 1 })),
        yield* Effect.flip(files.Write({ path: "a", data: new Uint8Array(1) }))
      ]
      for (const error of errors) {
        assert.strictEqual(error._tag === "CallRefused" && error.reason, "malformed-reply")
      }
    })
  )

  it("is refused where it is declared", () => {
    const make = (procedures: Record<number, Rpc.Any>) => () =>
      RpcProgram.make({ ...number, procedures, encoding: "xdr" })
    assert.throws(make({ 0: Who }), /NULL/)
    // Keys of objects are texts, and programs without types come here with any.
    for (const number of [-1, 1.5, 2 ** 32, "x"]) {
      assert.throws(make({ [number]: Who }), /procedure .* is no whole number from 1 to/)
    }
    const wrong = [
      { program: Number.NaN },
      { program: -1 },
      { version: 2 ** 32 },
      { version: "1" as unknown as number }
    ]
    for (const odd of wrong) {
      const options = { ...number, procedures: { 1: Who }, ...odd }
      assert.throws(() => RpcProgram.make(options), /(program|version) .* is no whole number/)
    }
    const odd = { ...number, procedures: { 1: Who }, encoding: "json" as "xdr" }
    assert.throws(() => RpcProgram.make(odd), /json is no encoding: xdr, binary/)
    const edges = { program: 0, version: 2 ** 32 - 1, procedures: { [2 ** 32 - 1]: Who } }
    assert.lengthOf(RpcProgram.make(edges).procedures, 1)
    assert.throws(make({ 1: Who, 2: Who }), /one name/)
    assert.throws(make({ 1: Rpc.make("Plain", { payload: { a: Schema.Number } }) }), /payload\.a/)
    const stream = RpcSchema.Stream(Xdr.Uint32, Schema.Never)
    assert.throws(make({ 1: Rpc.make("Stream", { success: stream }) }), /one reply/)
  })
})
