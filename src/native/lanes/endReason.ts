/**
 * The reason of a lane's end as a record carries it: two numbers for those that come in storms,
 * and a text for the others.
 */
import type { EndReason } from "./jobs.ts"

const Code = { text: 0, peerClosed: 1, closed: 2, stopped: 3 } as const

/** What a record carries: a code, a count of bytes, and a text, which is mostly empty. */
export const encoded = (
  reason: EndReason
): readonly [code: number, bytes: number, text: string] => {
  if (reason.kind === "peer-closed") return [Code.peerClosed, reason.missing, ""]
  if (reason.kind === "closed") return [Code.closed, reason.unsent, ""]
  if (reason.kind === "stopped") return [Code.stopped, 0, ""]
  return [Code.text, 0, JSON.stringify(reason)]
}

export const decoded = (code: number, bytes: number, text: string): EndReason => {
  if (code === Code.peerClosed) return { kind: "peer-closed", missing: bytes }
  if (code === Code.closed) return { kind: "closed", unsent: bytes }
  if (code === Code.stopped) return { kind: "stopped" }
  return JSON.parse(text) as EndReason
}
