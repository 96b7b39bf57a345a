/**
 * Finds peers: the NICs of a peer, and its registered memory.
 *
 * A directory is asked when a peer is first used, and again after a connection failed: a restarted
 * peer has other keys, and may have other NICs.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Epoch } from "../../schema/Epoch.ts"
import { Gid } from "../../schema/Gid.ts"

/** The most buffers that a peer may describe: a lookup by address scans them. */
const mostBuffers = 65_536
/** The most NICs of a peer: every pair of a local and a remote NIC is a rail. */
const mostNics = 256

const Address = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 53 - 1 }))
const Key = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff_ffff }))

/** Near, not near, and not named at all. */
const Distance = Schema.Literals([0, 1, 2])

/** A NIC of a peer. */
export const PeerNic = Schema.Struct({
  /** `server@nic`. */
  path: Schema.NonEmptyString,
  /** Its GID, for providers that connect by it, and for messages. */
  gid: Schema.optionalKey(Gid),
  lid: Schema.optionalKey(Schema.Int)
})

export type PeerNic = typeof PeerNic.Type

/** A right of peers on a buffer. */
export const PeerRight = Schema.Literals(["remote-write", "remote-read", "remote-atomic"])

export type PeerRight = typeof PeerRight.Type

/** Registered memory of a peer. Names need not be unique; only unique ones can be used as names. */
export const PeerBuffer = Schema.Struct({
  name: Schema.String,
  /** The address of its first byte, the same for all NICs. */
  address: Address,
  length: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 53 - 1 })),
  /** Its key on each NIC, in the order of the NICs. None: it is not shared with peers. */
  keys: Schema.Array(Key),
  /**
   * Distance of each NIC from it, in the order of the NICs: 0 is preferred, and the longest is for
   * when nothing else works. Default: all are equally near.
   */
  distances: Schema.optionalKey(Schema.Array(Distance)),
  /** Rights of peers on it. Without them, only the peer's NIC knows. */
  access: Schema.optionalKey(Schema.Array(PeerRight)),
  /**
   * Its registration, which no other memory of any process shares. Without it, memory is identified
   * by its address, length and keys, and by the connections to its process.
   */
  epoch: Schema.optionalKey(Epoch)
})

export type PeerBuffer = typeof PeerBuffer.Type

/** A peer, as it describes itself. */
export const Description = Schema.Struct({
  nics: Schema.Array(PeerNic).check(Schema.isMaxLength(mostNics)),
  buffers: Schema.Array(PeerBuffer).check(Schema.isMaxLength(mostBuffers)),
  /** The version of the description: its process instance, and a count that only grows in it. */
  epoch: Schema.optionalKey(Epoch)
}).check(
  Schema.makeFilter(({ buffers, nics }) => {
    const each = ({ address, distances, keys, length }: PeerBuffer) =>
      (keys.length === 0 || keys.length === nics.length) &&
      (distances ?? keys).length === keys.length &&
      Number.isSafeInteger(address + length)
    if (new Set(nics.map(({ path }) => path)).size < nics.length) return "a NIC is there twice"
    return (
      buffers.every(each) ||
      "expected keys and distances for each NIC, and ends within the safe integers"
    )
  })
)

export type Description = typeof Description.Type

/** The peer is unknown, cannot be asked, or sends an invalid description. */
export class NoDescription extends Schema.TaggedError<NoDescription>()("NoDescription", {
  peer: Schema.String,
  reason: Schema.Literals(["unknown", "unanswered", "invalid"]),
  detail: Schema.String
}) {
  override get message() {
    return `no description of ${this.peer} (${this.reason}): ${this.detail}`
  }
}

const decode = Schema.decodeUnknownEffect(Description)

/** Checks a peer's description: keys for each NIC, addresses within the safe integers. */
export const check = (peer: string, said: unknown): Effect.Effect<Description, NoDescription> =>
  Effect.mapError(
    decode(said),
    ({ message }) => new NoDescription({ peer, reason: "invalid", detail: message.slice(0, 256) })
  )

/** Describes peers. Its users check the answers. */
export class Directory extends Context.Service<
  Directory,
  { readonly resolve: (peer: string) => Effect.Effect<unknown, NoDescription> }
>()("handfast/actors/rdma/Directory") {
  /** Descriptions from a table. A function is called each time. */
  static readonly layerStatic = (
    peers: Readonly<Record<string, Description>> | ((peer: string) => Description | undefined)
  ): Layer.Layer<Directory> =>
    Layer.succeed(Directory, {
      resolve: (peer) =>
        Effect.suspend(() => {
          const found =
            typeof peers === "function" ? peers(peer) : new Map(Object.entries(peers)).get(peer)
          return found === undefined
            ? Effect.fail(
                new NoDescription({ peer, reason: "unknown", detail: "not in the table" })
              )
            : Effect.succeed(found)
        })
    })
}
