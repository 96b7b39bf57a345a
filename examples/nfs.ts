/**
 * Reads and writes files of an NFS server, version 4.0, by RPC-over-RDMA: an existing program,
 * spoken by declaring the part of its XDR (RFC 7531) that is used. File data goes by chunks.
 *
 * `node examples/nfs.ts HOST[:PORT]` lists a server's exported directory, over software iWARP.
 * Without an address it serves a directory of its own to itself.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as RpcClient from "../src/actors/rpc/RpcClient.ts"
import * as RpcProgram from "../src/actors/rpc/RpcProgram.ts"
import * as RpcServer from "../src/actors/rpc/RpcServer.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"
import * as Iwarp from "../src/native/iwarp/IwarpVerbs.ts"
import * as Address from "../src/schema/Address.ts"
import { authSys } from "../src/schema/rpc/RpcMessage.ts"
import { XdrReader, XdrWriter } from "../src/schema/rpc/Xdr.ts"
import * as Xdr from "../src/schema/rpc/XdrSchema.ts"

const maxDataBytes = 1 << 20
const maxOperations = 16
const maxEntries = 4_096

const Bitmap = Xdr.Counted(Xdr.Uint32, 3)
const Attributes = Schema.Struct({ mask: Bitmap, values: Xdr.Opaque(1_024) })
const StateId = Schema.Struct({ sequence: Xdr.Uint32, other: Xdr.FixedOpaque(12) })
const Verifier = Xdr.FixedOpaque(8)
const Name = Xdr.Text(255)

/** One operation of a compound: its arguments, and the results that it has beside its status. */
const Operation = Xdr.Switch({
  9: Schema.TaggedStruct("GetAttributes", { wanted: Bitmap }),
  15: Schema.TaggedStruct("Lookup", { name: Name }),
  24: Schema.TaggedStruct("PutRoot", {}),
  25: Schema.TaggedStruct("Read", { state: StateId, offset: Xdr.Uint64, count: Xdr.Uint32 }),
  26: Schema.TaggedStruct("ReadDirectory", {
    cookie: Xdr.Uint64,
    verifier: Verifier,
    entryBytes: Xdr.Uint32,
    maxBytes: Xdr.Uint32,
    wanted: Bitmap
  }),
  38: Schema.TaggedStruct("Write", {
    state: StateId,
    offset: Xdr.Uint64,
    stable: Xdr.Uint32,
    data: Xdr.Bulk(maxDataBytes)
  })
})
type Operation = typeof Operation.Type

const Failed = Schema.TaggedStruct("Failed", { status: Xdr.Uint32 })
const Done = <Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.TaggedStruct("Done", fields)
type AnyDone = Schema.Codec<{ readonly _tag: "Done" }, unknown>
/** What became of an operation: a status that is 0, and more, or one that is not. */
const outcome = <Known extends AnyDone>(done: Known) => ({
  result: Xdr.Switch({ 0: done }, Failed)
})

const Entry = Schema.Struct({ cookie: Xdr.Uint64, name: Name, attributes: Attributes })
const Page = Done({
  verifier: Verifier,
  entries: Xdr.List(Entry, maxEntries),
  isEnd: Schema.Boolean
})
const Data = Done({ isEnd: Schema.Boolean, data: Xdr.Bulk(maxDataBytes) })
const Written = Done({ count: Xdr.Uint32, committed: Xdr.Uint32, verifier: Verifier })

const Result = Xdr.Switch({
  9: Schema.TaggedStruct("GetAttributes", outcome(Done({ attributes: Attributes }))),
  15: Schema.TaggedStruct("Lookup", outcome(Done({}))),
  24: Schema.TaggedStruct("PutRoot", outcome(Done({}))),
  25: Schema.TaggedStruct("Read", outcome(Data)),
  26: Schema.TaggedStruct("ReadDirectory", outcome(Page)),
  38: Schema.TaggedStruct("Write", outcome(Written))
})
type Result = typeof Result.Type

const Compound = Rpc.make("Compound", {
  payload: {
    tag: Xdr.Text(64),
    minor: Xdr.Uint32,
    operations: Xdr.Counted(Operation, maxOperations)
  },
  success: Schema.Struct({
    status: Xdr.Uint32,
    tag: Xdr.Text(64),
    results: Xdr.Counted(Result, maxOperations)
  })
})

/** The longest results of an operation, without file data. */
const resultBytes = (operation: Operation): number =>
  operation._tag === "ReadDirectory" ? operation.maxBytes : 256

export const Nfs = RpcProgram.make({
  program: 100_003,
  version: 4,
  encoding: "xdr",
  procedures: {
    1: RpcProgram.procedure(Compound, {
      longest: ({ operations, tag }) => ({
        bytes: operations.reduce((sum, one) => sum + resultBytes(one), 128 + tag.length),
        bulk: operations.flatMap((one) => (one._tag === "Read" ? [one.count] : []))
      })
    })
  }
})

/** The server refused an operation, by a status of RFC 7530. */
export class NfsError extends Schema.TaggedError<NfsError>()("NfsError", { status: Schema.Int }) {}

const noState = { sequence: 0, other: new Uint8Array(12) }
/** Reads past locks, and in the server's grace period too. */
const anyState = { sequence: 0xffff_ffff, other: new Uint8Array(12).fill(0xff) }
const noVerifier = new Uint8Array(8)
const fileSync = 2
/** The attributes `type` and `size`. */
const typeAndSize = [(1 << 1) | (1 << 4)]
const directory = 2

const readAttributes = ({ values }: typeof Attributes.Type) => {
  const reader = new XdrReader(values)
  const isDirectory = reader.uint32() === directory
  return { isDirectory, size: Number(reader.uint64()) }
}

/** Operations that lead from the exported root to a file. */
const pathTo = (path: string): ReadonlyArray<Operation> => [
  { _tag: "PutRoot" },
  ...path
    .split("/")
    .filter((name) => name !== "")
    .map((name) => ({ _tag: "Lookup", name }) as const)
]

/** The files of a server, over a client of its program. */
export const filesOf = (client: RpcClient.Methods<typeof Compound, RpcClient.CallError>) => {
  const credential = authSys({ stamp: 0, machine: "handfast", uid: 0, gid: 0, gids: [] })
  /** Runs operations on a file. Returns what the last one did. */
  const run = <Tag extends Operation["_tag"]>(
    path: string,
    operation: Extract<Operation, { readonly _tag: Tag }>
  ) =>
    Effect.gen(function* () {
      const operations = [...pathTo(path), operation]
      const { results, status } = yield* client.Compound(
        { tag: "", minor: 0, operations },
        { credential }
      )
      const last = results.at(-1)
      if (status !== 0 || last?._tag !== operation._tag || last.result._tag === "Failed") {
        return yield* new NfsError({ status })
      }
      return last.result as Extract<
        Extract<Result, { readonly _tag: Tag }>["result"],
        { readonly _tag: "Done" }
      >
    })
  return {
    /** Type and size. */
    stat: (path: string) =>
      Effect.map(
        run<"GetAttributes">(path, { _tag: "GetAttributes", wanted: typeAndSize }),
        ({ attributes }) => readAttributes(attributes)
      ),
    /** The names in a directory, in replies of at most so many bytes. */
    list: Effect.fnUntraced(function* (path: string, maxBytes = 32_768) {
      const found: Array<{ readonly name: string; readonly size: number }> = []
      let [cookie, verifier, isEnd] = [0n, noVerifier as Uint8Array, false]
      while (!isEnd) {
        const page = yield* run<"ReadDirectory">(path, {
          _tag: "ReadDirectory",
          cookie,
          verifier,
          entryBytes: maxBytes,
          maxBytes,
          wanted: typeAndSize
        })
        for (const { attributes, name } of page.entries) {
          found.push({ name, size: readAttributes(attributes).size })
        }
        cookie = page.entries.at(-1)?.cookie ?? cookie
        ;({ isEnd, verifier } = page)
      }
      return found
    }),
    /** At most so many bytes, at most 1 MiB. */
    read: (path: string, offset: number, count: number) =>
      Effect.map(
        run<"Read">(path, { _tag: "Read", state: anyState, offset: BigInt(offset), count }),
        ({ data }) => data
      ),
    /** Writes at most 1 MiB into a file that exists. Returns the bytes written. */
    write: (path: string, offset: number, data: Uint8Array) =>
      Effect.map(
        run<"Write">(path, {
          _tag: "Write",
          state: noState,
          offset: BigInt(offset),
          stable: fileSync,
          data
        }),
        ({ count }) => count
      )
  }
}

/** Answers operations on one directory of files in memory. */
const serveFiles = (files: Map<string, Uint8Array>) => {
  const attributesOf = (bytes: Uint8Array | undefined) => {
    const values = new XdrWriter().uint32(bytes === undefined ? directory : 1)
    return { mask: typeAndSize, values: values.uint64(BigInt(bytes?.length ?? 0)).bytes() }
  }
  const noSuchFile = { _tag: "Failed", status: 2 } as const
  const notSupported = { _tag: "Failed", status: 10_004 } as const
  return RpcProgram.implement(Nfs, {
    Compound: ({ operations, tag }) => {
      let current: Uint8Array | undefined = undefined
      const results: Array<Result> = []
      for (const operation of operations) {
        const { _tag } = operation
        if (_tag === "PutRoot") results.push({ _tag, result: { _tag: "Done" } })
        else if (_tag === "Lookup") {
          current = files.get(operation.name)
          results.push({ _tag, result: current === undefined ? noSuchFile : { _tag: "Done" } })
        } else if (_tag === "GetAttributes") {
          results.push({ _tag, result: { _tag: "Done", attributes: attributesOf(current) } })
        } else if (_tag === "Read" && current !== undefined) {
          const end = Number(operation.offset) + operation.count
          const data = Uint8Array.from(current.subarray(Number(operation.offset), end))
          const isEnd = end >= current.length
          results.push({ _tag, result: { _tag: "Done", isEnd, data } })
        } else if (_tag === "ReadDirectory") {
          const entries = [...files].map(([name, bytes], index) => ({
            cookie: BigInt(index + 3),
            name,
            attributes: attributesOf(bytes)
          }))
          const listed = { verifier: noVerifier, entries, isEnd: true }
          results.push({ _tag, result: { _tag: "Done", ...listed } })
        } else results.push({ _tag, result: notSupported } as Result)
        const last = results.at(-1)!.result
        if (last._tag === "Failed") return Effect.succeed({ status: last.status, tag, results })
      }
      return Effect.succeed({ status: 0, tag, results })
    }
  })
}

const nfsPort = 20_049

const program = Effect.gen(function* () {
  const given = process.argv[2]
  const files = new Map([
    ["hello", Buffer.from("hello over RDMA")],
    ["large", Buffer.alloc(maxDataBytes, 7)]
  ])
  const serveHere = Effect.gen(function* () {
    const served = yield* serveFiles(files)
    return (yield* RpcServer.make({ programs: [served], open: true })).address
  })
  const to = given === undefined ? yield* serveHere : Address.parse(given, nfsPort)
  if (to === undefined) return yield* Console.error(`${given} is no address`)
  const client = yield* RpcClient.make(Nfs, { to, trustsForeignCache: true })
  const { list, read } = filesOf(client)
  for (const { name, size } of yield* list("/")) {
    yield* Console.log(name, size) // hello 15; large 1048576
  }
  if (given !== undefined) return
  const text = Buffer.from(yield* read("/hello", 6, 9)).toString()
  yield* Console.log(text) // over RDMA
})

if (import.meta.main) {
  await Effect.runPromise(
    program.pipe(Effect.scoped, Effect.provide([Iwarp.layer(), Journal.layerMemory]))
  )
}
