/**
 * What can be wrong with what a peer sends over the bus. These are values, never thrown, and plain
 * objects, so that a worker can pass them on.
 */

/** The bytes are not frames. The next frame cannot be found, so the link is closed. */
export type FramingFault =
  | { readonly _tag: "WrongSignature" }
  | { readonly _tag: "FrameTooShort"; readonly length: number; readonly leastBytes: number }
  | { readonly _tag: "FrameTooLong"; readonly length: number; readonly maxBytes: number }

/** One frame is not what its type says. It is counted and dropped; the link stays. */
export type FrameFault =
  | { readonly _tag: "WrongVersion"; readonly version: number }
  | { readonly _tag: "NoLightForm"; readonly type: number }
  | { readonly _tag: "WrongLength"; readonly type: number; readonly length: number }
  | { readonly _tag: "UnannouncedExtensions"; readonly count: number }
  | { readonly _tag: "BadExtension"; readonly type: number; readonly length: number }
  | { readonly _tag: "BadNodeId"; readonly field: IdField }

/** A field that holds the id of a node. */
export type IdField = "sender" | "replicaOf" | "failed" | "updated" | "forgotten" | "shard"

/** Everything that can be wrong with a run of bytes. */
export type BusFault = FramingFault | FrameFault
