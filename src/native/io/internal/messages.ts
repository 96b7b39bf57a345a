/**
 * Jobs of the main thread for a socket host, and their results, as plain data that survives a
 * structured clone and JSON.
 */
import { cutText, detailCharacters, nameCharacters } from "./cutText.ts"
import type { TlsSettings } from "./tls.ts"

/** The address of a listener, or of a connection's peer; `localAddress` is its local end. */
export type Endpoint =
  | { readonly host: string; readonly port: number; readonly localAddress?: string }
  | { readonly path: string }

/** Limits of one lane. */
export interface LaneLimits {
  readonly sendBytes: number
  readonly receiveBytes: number
  readonly readTurnBytes: number
  readonly writeJobBytes: number
  readonly openWithinMs: number
  readonly stallAfterMs: number
  readonly closeWithinMs: number
}

/** The part that all jobs that open lanes have in common. */
export interface LaneSetup {
  /** The URL of the framer's module. */
  readonly framer: string
  readonly options: unknown
  readonly limits: LaneLimits
  readonly tls: TlsSettings | undefined
  /** Whether the lane stays open for sending after its peer has ended. */
  readonly halfOpen: boolean
}

export type OpenJob = LaneSetup &
  (
    | { readonly kind: "connect"; readonly endpoint: Endpoint }
    | { readonly kind: "adopt"; readonly fd: number; readonly initiator: boolean }
    | {
        readonly kind: "listen"
        readonly endpoint: Endpoint
        readonly backlog: number
        readonly reusePort: boolean
        /** Bytes that may wait of a connection that was not accepted; 0 if it is not read. */
        readonly readAheadBytes: number
      }
  )

/** The other end of a connection. */
export interface PeerInfo {
  readonly address: string
  readonly port: number
  readonly tls?: {
    readonly protocol: string
    /** Whether the peer's certificate was checked against `ca` and held. */
    readonly authorized: boolean
    /** The common name of the peer's certificate, empty without one. */
    readonly subject: string
    readonly fingerprint: string
    /** The protocol that both ends agreed on by ALPN, empty without one. */
    readonly alpn: string
    /** The name that the client asked for, empty without one. */
    readonly servername: string
  }
}

/** Why an open job failed. */
export interface OpenFailure {
  readonly step: "resolve" | "connect" | "tls" | "listen" | "framer" | "worker"
  readonly code: string
  readonly detail: string
}

/** Converts an error to a failure, with its step. */
export const failureOf = (step: OpenFailure["step"], error: unknown): OpenFailure => {
  const name = error instanceof Error && "code" in error ? String(error.code) : ""
  const code = cutText(name, nameCharacters)
  const syscall = error instanceof Error && "syscall" in error ? String(error.syscall) : ""
  const message = error instanceof Error ? error.message : String(error)
  const detail = cutText(message, detailCharacters)
  if (syscall === "getaddrinfo") return { step: "resolve", code, detail }
  if (syscall === "connect") return { step: "connect", code, detail }
  return { step: /^ERR_(OSSL|SSL|TLS)/.test(code) ? "tls" : step, code, detail }
}

/** Why a lane ended. */
export type EndReason =
  | { readonly kind: "peer-closed"; readonly missing: number }
  | { readonly kind: "peer-reset"; readonly code: string }
  | { readonly kind: "refused"; readonly detail: string; readonly isDefect: boolean }
  | { readonly kind: "slow-peer"; readonly bytes: number; readonly millis: number }
  | { readonly kind: "handler"; readonly detail: string }
  | { readonly kind: "closed"; readonly unsent: number }
  | { readonly kind: "crashed"; readonly detail: string; readonly isStuck: boolean }
  | { readonly kind: "stopped" }

const Code = { text: 0, peerClosed: 1, closed: 2, stopped: 3 } as const

/** Encodes a reason as a code, a count of bytes, and a text for rare reasons. */
export const encodeReason = (
  reason: EndReason
): readonly [code: number, bytes: number, text: string] => {
  if (reason.kind === "peer-closed") return [Code.peerClosed, reason.missing, ""]
  if (reason.kind === "closed") return [Code.closed, reason.unsent, ""]
  if (reason.kind === "stopped") return [Code.stopped, 0, ""]
  return [Code.text, 0, JSON.stringify(reason)]
}

export const decodeReason = (code: number, bytes: number, text: string): EndReason => {
  if (code === Code.peerClosed) return { kind: "peer-closed", missing: bytes }
  if (code === Code.closed) return { kind: "closed", unsent: bytes }
  if (code === Code.stopped) return { kind: "stopped" }
  return JSON.parse(text) as EndReason
}

const peerGone = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED"])

/** The reason of a lane whose socket failed. */
export const resetReason = ({ code, message }: NodeJS.ErrnoException): EndReason => {
  const name = code ?? message
  const text = peerGone.has(name) ? name : cutText(`${name}: ${message}`, detailCharacters)
  return { kind: "peer-reset", code: text }
}

/** The reason with which a thread's lanes and open jobs end; without a crash it was stopped. */
export const threadEnd = (crash: string | undefined, isStuck: boolean) => {
  const reason: EndReason =
    crash === undefined ? { kind: "stopped" } : { kind: "crashed", detail: crash, isStuck }
  const failure: OpenFailure = { step: "worker", code: "", detail: crash ?? "stopped" }
  return { failure, reason }
}
