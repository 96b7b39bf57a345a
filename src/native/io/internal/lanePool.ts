/** What opens lanes for the users of a pool, wherever their sockets live. */
import type * as Effect from "effect/Effect"
import type { Framer } from "../Framer.ts"
import type { PoolStats } from "./laneCounts.ts"
import type { Opener } from "./openJobs.ts"
import type { TlsSettings } from "./tls.ts"

/** An open job or a listener, which can be cancelled in whichever thread it runs. */
export interface Cancellable {
  readonly cancel: () => void
}

export interface Listening extends Cancellable {
  /** Uses other certificates from the next handshake on, in every thread. */
  readonly renewCertificates: (tls: TlsSettings) => void
}

export interface LanePool {
  readonly stats: PoolStats
  readonly loadFramer: (url: string) => Effect.Effect<Framer, unknown>
  /** Opens a connection, in a worker if that is wanted and one has room. */
  open(opener: Opener, inWorker: boolean): Cancellable
  /** Listens, in all workers or on the main thread. Cancelling it closes the listener: `failed`. */
  listen(opener: Opener, inWorkers: boolean): Listening
  /** Resolves when all workers know the memory. */
  register(id: number, memory: SharedArrayBuffer): Promise<void>
  /** Resolves when no worker finds the memory any more, or is using it. */
  unregister(id: number): Promise<void>
  /** Changes the number of workers. Lanes stay where they are until they end. */
  resize(min: number, max: number): void
}
