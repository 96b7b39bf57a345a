/**
 * The description of a process in a metadata frame: its NICs, its registered memory, and which NICs
 * are near which memory.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Malformed, type TextFault } from "./Fault.ts"
import { GidText } from "./GidText.ts"
import { largestU64, U32, U64 } from "./internal/integers.ts"
import { type Json, parse, print } from "./internal/json.ts"

/** Newer Mooncakes write LIDs of 32 bits. */
const Device = Schema.Struct({ gid: GidText, lid: U32, name: Schema.NonEmptyString })

const Buffer = Schema.Struct({
  addr: U64,
  length: U64,
  lkey: Schema.Array(U32),
  name: Schema.NonEmptyString,
  rkey: Schema.Array(U32)
}).check(
  Schema.makeFilter(({ addr, length }) => {
    if (addr === 0n || length === 0n) return "expected memory"
    return addr + length - 1n <= largestU64 || "expected memory that ends within 64 bits"
  })
)

/** For each location of memory: the NICs to prefer, and the others that reach it. */
const PriorityMatrix = Schema.NullOr(
  Schema.Record(
    Schema.String,
    Schema.Tuple([Schema.Array(Schema.String), Schema.Array(Schema.String)])
  )
)

/**
 * A transfer finds its keys by the index of the NIC: a buffer has a key for each NIC, or is not
 * shared with peers.
 */
export const SegmentDescriptor = Schema.Struct({
  buffers: Schema.Array(Buffer),
  devices: Schema.Array(Device),
  /** Members of this library, see `Segment`; Mooncake ignores them. */
  handfast: Schema.optionalKey(Schema.Unknown),
  name: Schema.String,
  priorityMatrix: PriorityMatrix,
  protocol: Schema.Literal("rdma"),
  rdmaServerName: Schema.optionalKey(Schema.NonEmptyString),
  tcpDataPort: Schema.Int,
  tcpProtoVersion: Schema.optionalKey(Schema.Int),
  timestamp: Schema.optionalKey(Schema.String)
})
  .check(
    Schema.makeFilter(({ buffers, devices }) => {
      const fits = ({ lkey, rkey }: (typeof buffers)[number]): boolean =>
        rkey.length === 0 || (rkey.length === lkey.length && rkey.length === devices.length)
      return buffers.every(fits) || "expected a local and a remote key for each device"
    })
  )
  .pipe(
    Schema.encodeKeys({
      priorityMatrix: "priority_matrix",
      rdmaServerName: "rdma_server_name",
      tcpDataPort: "tcp_data_port",
      tcpProtoVersion: "tcp_proto_version"
    })
  )

export type SegmentDescriptor = typeof SegmentDescriptor.Type

const fromJson = Schema.decodeUnknownResult(SegmentDescriptor)
const toJson = Schema.encodeSync(SegmentDescriptor)

export const decode = (text: string): Result.Result<SegmentDescriptor, TextFault> =>
  Result.flatMap(parse(text), (json) =>
    Result.mapError(
      fromJson(json),
      ({ message }) => new Malformed({ what: "segment", detail: message.slice(0, 256) })
    )
  )

/** Encodes a descriptor. One that no peer would accept is a mistake of the caller, and throws. */
export const encode = (descriptor: SegmentDescriptor): string =>
  print(toJson(descriptor) as unknown as Json)
