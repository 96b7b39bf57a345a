/** RPC-over-RDMA messages, hostile ones among them, and exchanges with Linux's NFS server. */
import { readFileSync } from "node:fs"

interface Vectors {
  readonly privateData: ReadonlyArray<{
    readonly name: string
    readonly hex: string
    readonly data?: {
      readonly sendBytes: number
      readonly receiveBytes: number
      readonly remoteInvalidate: boolean
    }
  }>
  readonly frames: ReadonlyArray<{
    readonly name: string
    readonly hex: string
    readonly readByTshark: boolean
    readonly expect: Readonly<Record<string, unknown>>
  }>
  readonly recorded: ReadonlyArray<{
    readonly name: string
    readonly call: string
    readonly replies: ReadonlyArray<string>
  }>
}

export const { frames, privateData, recorded }: Vectors = JSON.parse(
  readFileSync(new URL("../../vectors/rpcrdma-frames.json", import.meta.url), "utf8")
)

export const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"))
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const frame = (name: string): Uint8Array => {
  const found = frames.find((frame) => frame.name === name)
  if (found === undefined) throw new Error(`there is no frame ${name}`)
  return bytesOf(found.hex)
}
