/** The byte vectors of iWARP: conversations, the figures of RFC 5044, and what Linux sends. */
import { readFileSync } from "node:fs"

export interface Vector {
  readonly name: string
  readonly dir: "I" | "O"
  readonly kind: "mpa" | "fpdu"
  readonly hex: string
  readonly fields: Readonly<Record<string, unknown>>
}

interface Pair {
  readonly request: string
  readonly reply: string
}

interface Vectors {
  readonly rfc5044: ReadonlyArray<{ readonly name: string; readonly hex: string }>
  readonly streams: Readonly<Record<string, ReadonlyArray<Vector>>>
  readonly siwObserved: Readonly<Record<string, string>> & {
    readonly [
      pair in
        | "mpa_reply_to_p2p_write_read_offer"
        | "mpa_reply_to_p2p_crc"
        | "mpa_reply_to_read_rtr_only"
        | "mpa_reply_rev1"
        | "mpa_reply_markers_rejected"
        | "nfs_rdma_20049"
        | "nfs_rdma_20049_rejected_ird0"
    ]: Pair
  } & {
    readonly [
      terminate in
        | "terminate_write_bad_stag"
        | "terminate_read_bad_stag"
        | "terminate_unknown_opcode"
    ]: { readonly hex: string }
  }
}

export const vectors: Vectors = JSON.parse(
  readFileSync(new URL("../../vectors/iwarp-frames.json", import.meta.url), "utf8")
)

export const conversations = Object.entries(vectors.streams)

export const bytesOfHex = (hex: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.from(hex, "hex"))

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** Whether the peers of a conversation agreed on CRCs. */
export const usesCrc = (name: string): boolean => name !== "v2_nocrc"
