/**
 * Reasons of a lane's end, and how a record carries them: two numbers for those that come in
 * storms, and a text for the others.
 */
import { cutText, detailCharacters } from "./cutText.ts"
import type { EndReason, OpenFailure } from "./messages.ts"

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

const peerGone = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED"])

/** The reason of a lane whose socket failed. */
export const resetBy = ({ code, message }: NodeJS.ErrnoException): EndReason => {
  const name = code ?? message
  const text = peerGone.has(name) ? name : cutText(`${name}: ${message}`, detailCharacters)
  return { kind: "peer-reset", code: text }
}

/** What lanes and open jobs of a thread end with; without a crash it was asked to end. */
export const threadEnd = (crash: string | undefined, isStuck: boolean) => {
  const reason: EndReason =
    crash === undefined ? { kind: "stopped" } : { kind: "crashed", detail: crash, isStuck }
  const failure: OpenFailure = { step: "worker", code: "", detail: crash ?? "stopped" }
  return { failure, reason }
}
