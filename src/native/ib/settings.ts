/** Settings of the provider. */

/** Options of `IbVerbs.layer`. */
export interface Settings {
  /**
   * How the end of work is noticed: by events of the device, or by asking it again and again for as
   * long as work is posted, which takes a processor and saves the wake-up. Default: `events`.
   */
  readonly completions?: "events" | "poll" | undefined
  /**
   * Milliseconds that a device has to flush a queue pair that failed; what it has not flushed then
   * ends in memory. Default 2000: real devices take microseconds.
   */
  readonly flushWithinMs?: number | undefined
  /** Milliseconds to find the way to an address. Default 2000, three tries of ARP. */
  readonly resolveWithinMs?: number | undefined
  /** Milliseconds for the other side to answer a connect or an accept. Default 30000. */
  readonly connectWithinMs?: number | undefined
}

export type Resolved = { readonly [K in keyof Settings]-?: NonNullable<Settings[K]> }

export const resolve = (settings: Settings): Resolved => ({
  completions: settings.completions ?? "events",
  flushWithinMs: settings.flushWithinMs ?? 2000,
  resolveWithinMs: settings.resolveWithinMs ?? 2000,
  connectWithinMs: settings.connectWithinMs ?? 30_000
})
