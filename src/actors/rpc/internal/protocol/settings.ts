/** Settings of the two ends of the protocol for `effect/rpc`, with their defaults. */
import type { ClientOptions } from "../clientSettings.ts"
import type { ServerOptions } from "../serverSettings.ts"
import { defaultProgram } from "./messages.ts"

export interface ProtocolClientOptions extends Omit<
  ClientOptions,
  "program" | "version" | "reverse"
> {
  /** The number of the program that carries the messages. Default 0x20000065 on both ends. */
  readonly program?: number | undefined
  /** The longest message of the server, in bytes. Default 4 MiB, what it takes from a client. */
  readonly maxMessageBytes?: number | undefined
  /**
   * How often the server is asked whether it knows this client, while requests have not ended, in
   * milliseconds. Default 10 s: a third of the silence after which a server gives a client up.
   */
  readonly renewEveryMs?: number | undefined
}

export interface ProtocolServerOptions extends Omit<ServerOptions, "programs"> {
  /** The number of the program that carries the messages. Default 0x20000065 on both ends. */
  readonly program?: number | undefined
  /** The longest message to a client, in bytes. Default 4 MiB, what is taken from one. */
  readonly maxMessageBytes?: number | undefined
  /**
   * A client that is not heard for so long, in milliseconds, is gone: its requests are interrupted.
   * Default 30 s, the longest pause between two connects.
   */
  readonly goneAfterMs?: number | undefined
  /** Clients that are not gone. Default 1024, as many as calls are remembered of. */
  readonly maxSessions?: number | undefined
  /** Requests of one client that have not ended. Default 4096: streams cost little while idle. */
  readonly maxRequests?: number | undefined
  /**
   * Bytes kept for one client until it has them; one that lets more come is gone.
   * Default 16 MiB: four of the longest messages.
   */
  readonly maxHeldBytes?: number | undefined
}

export const protocolClientDefaults = {
  program: defaultProgram,
  maxMessageBytes: 4 << 20,
  renewEveryMs: 10_000
}

export const protocolServerDefaults = {
  program: defaultProgram,
  maxMessageBytes: 4 << 20,
  goneAfterMs: 30_000,
  maxSessions: 1_024,
  maxRequests: 4_096,
  maxHeldBytes: 16 << 20
}

/** Takes the settings of the protocol out of those of the end that it stands on. */
export const split = <Defaults extends object, Options extends object>(
  defaults: Defaults,
  options: Options
): { readonly own: Defaults; readonly rest: Omit<Options, keyof Defaults> } => {
  const own: Record<string, unknown> = Object.fromEntries(Object.entries(defaults))
  const rest: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(options)) {
    if (!(name in defaults)) rest[name] = value
    else if (value !== undefined) own[name] = value
  }
  return { own: own as Defaults, rest: rest as Omit<Options, keyof Defaults> }
}
