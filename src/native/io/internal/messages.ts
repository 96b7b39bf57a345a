/**
 * What the main thread asks of a socket host, and what comes back, as plain data that survives
 * a structured clone and JSON.
 */
import { cutText, detailCharacters, nameCharacters } from "./cutText.ts"
import type { TlsSettings } from "./tls.ts"

/** Where a connection goes, or a listener is; `localAddress` is where a connection comes from. */
export type Endpoint =
  | { readonly host: string; readonly port: number; readonly localAddress?: string }
  | { readonly path: string }

/** What bounds one lane. Bytes and milliseconds. */
export interface LaneLimits {
  readonly sendBytes: number
  readonly receiveBytes: number
  readonly readBudget: number
  readonly writeBudget: number
  readonly openWithin: number
  readonly stallWithin: number
  readonly closeWithin: number
}

/** What every new lane needs, whoever opens it. */
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

/** The failure that an error is, with the step at which it came. */
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
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "slow-peer"; readonly bytes: number; readonly millis: number }
  | { readonly kind: "handler"; readonly detail: string }
  | { readonly kind: "closed"; readonly unsent: number }
  | { readonly kind: "crashed"; readonly detail: string; readonly isStuck: boolean }
  | { readonly kind: "stopped" }
