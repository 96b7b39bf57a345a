/**
 * The options of lanes and listeners, and the jobs made from them.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Endpoint, LaneLimits, LaneSetup } from "./messages.ts"
import type { LanePool } from "./lanePool.ts"
import { openErrorOf } from "./opening.ts"
import type { TlsSettings } from "./tls.ts"

/** Options that open a lane. */
export interface LaneOptions {
  /** The module whose default export is the framer. */
  readonly framer: URL
  /** Handed to the framer's `open`; must survive a structured clone. */
  readonly options?: unknown
  readonly tls?: TlsSettings
  /**
   * Keeps the lane open for sending after the peer has ended its side. Without it the lane ends
   * then, and answers to the peer's last frames may be lost, in a worker usually all of them: a
   * server needs it whose clients send a request and end, as `nc` does. Default false.
   */
  readonly halfOpen?: boolean
  /** Where the socket is. Default: in a worker with TLS or a consuming framer. */
  readonly on?: "auto" | "worker" | "main"
}

/** Options that open a listener. */
export interface ListenOptions extends LaneOptions {
  readonly at: Endpoint
  /** Connections that wait in the kernel. Default 1024: a storm of peers, within Linux's limit. */
  readonly backlog?: number
  /**
   * Shares a port among all workers, and with other processes of this user that share it too:
   * `SO_REUSEPORT`, on Linux. Otherwise one thread takes all connections: the first that
   * listened, also after a resize. Default false.
   */
  readonly reusePort?: boolean
  /**
   * Bytes that a connection may have sent before it is accepted, so that its framer can answer
   * while the main thread is busy. Default 0: a connection that waits takes no memory.
   */
  readonly readAheadBytes?: number
}

/** An endpoint as messages show it. */
export const addressOf = (endpoint: Endpoint): string =>
  "path" in endpoint ? endpoint.path : `${endpoint.host}:${endpoint.port}`

/** Returns the common part of all jobs that open lanes, and where the lanes live. */
export const prepare = Effect.fnUntraced(function* (
  { loadFramer }: Pick<LanePool, "loadFramer">,
  options: LaneOptions,
  limits: LaneLimits,
  address: string
) {
  const framer = yield* Effect.mapError(loadFramer(options.framer.href), (error) => {
    const detail = String(error instanceof Cause.UnknownError ? error.cause : error)
    return openErrorOf(address, { step: "framer", code: "", detail })
  })
  const setup: LaneSetup = {
    framer: options.framer.href,
    options: options.options,
    limits,
    tls: options.tls,
    halfOpen: options.halfOpen === true
  }
  const { on = "auto" } = options
  const gains = options.tls !== undefined || framer.consumes === true
  const inWorker = on === "worker" || (on === "auto" && gains)
  return { takesCommands: framer.takesCommands === true, inWorker, setup }
})
