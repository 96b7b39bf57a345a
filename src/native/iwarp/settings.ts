/** Settings of the iWARP provider. Each limit has a default with its reason. */
import type { Settings as PoolSettings, TlsSettings } from "../io/IoPool.ts"
import type { Address } from "../verbs/Connection.ts"
import { laneBytes } from "./transmit.ts"

export interface Settings {
  /** The workers that own the sockets. */
  readonly pool?: PoolSettings | undefined
  /** Where sockets live. Default `worker`: one-sided access is served while this thread is busy. */
  readonly on?: "worker" | "main" | undefined
  /** Whether this side asks for CRCs; if either side does, both compute them. Default true. */
  readonly crc?: boolean | undefined
  /**
   * MPA's revision for requests. 1 is for peers of before RFC 6581, which close on an enhanced
   * request: only an answer lowers the revision of a connection. Default 2.
   */
  readonly revision?: 1 | 2 | undefined
  /** The initiator signals that it is ready, before any message. Default true. */
  readonly peerToPeer?: boolean | undefined
  /**
   * Bytes of a TCP segment, to keep each FPDU within one: what hardware peers want, 1448 on
   * Ethernet. Default: none, FPDUs are as large as can be.
   */
  readonly segmentBytes?: number | undefined
  /** Milliseconds for a connection to be made. Default 10 s, as Linux waits for a reply. */
  readonly connectWithinMs?: number | undefined
  /**
   * Milliseconds that posted work waits for a peer that is not there. Default: `connectWithinMs`,
   * the time that the peer has to come; a card gives up after its retries, often within a second.
   */
  readonly peerWithinMs?: number | undefined
  /** Milliseconds for a caller to say who it is. Default 5 s, as Linux waits for a request. */
  readonly requestWithinMs?: number | undefined
  /** Milliseconds for the program to accept or reject. Default 10 s: the caller waits as long. */
  readonly decideWithinMs?: number | undefined
  /** Milliseconds that a peer may take no bytes, or owe an answer. Default 30 s. */
  readonly answerWithinMs?: number | undefined
  /**
   * Milliseconds between two looks at the interface's addresses while a device's events are read,
   * or all of them are listened at: Node is not told of changes, and each look asks the kernel for
   * all of them. Default 1 s, sooner than TCP notices that a peer is gone.
   */
  readonly refreshEveryMs?: number | undefined
  /**
   * Where an address of a peer is reached from here, if not at itself: through a forwarded port, a
   * translated address, or a relay of a test. Default: everywhere at itself.
   */
  readonly route?: ((to: Address) => Address) | undefined
  /**
   * Where out-of-band calls of a peer come from, given the address that its GID names: the other
   * direction of `route`. Calls from elsewhere are refused. Default: from that address.
   */
  readonly arrivesFrom?: ((address: string) => string) | undefined
  /**
   * Proves the two ends of an out-of-band connection to each other, where both are this library's
   * and have the same one. It does not keep out an attacker who reads the network. Default: none.
   */
  readonly secret?: string | undefined
  /**
   * TLS below iWARP, in the workers: peers of this library that have it, too. What the certificates
   * prove is decided by `verify` and `ca` of each side. Default: none, as cards have none.
   */
  readonly tls?: { readonly listen: TlsSettings; readonly connect: TlsSettings } | undefined
  /**
   * Callers of one listener, or of the device's out-of-band port, whose first FPDU is not here. At
   * the limit the oldest gives way. Default 512, four times the requests that wait for a program.
   */
  readonly callersMax?: number | undefined
  /**
   * How often a queue pair calls the peer that it was told of out of band. Default 8, over 2 s: the
   * first call is taken unless the network fails, and the address may belong to another host.
   */
  readonly callsMax?: number | undefined
  /** As `callersMax`, from one address. Default 256: one host alone leaves room for others. */
  readonly callersPerAddressMax?: number | undefined
}

/** Settings that may stay open. */
type Open = "segmentBytes" | "secret" | "tls"

/** All settings, as they hold. */
export type Resolved = {
  readonly [K in Exclude<keyof Settings, "pool" | Open>]-?: NonNullable<Settings[K]>
} & { readonly [K in Open]: Settings[K] }

/** The settings of a pool that serves this provider. */
export const poolOf = (pool: PoolSettings = {}): PoolSettings => ({
  ...pool,
  sendBytes: Math.max(laneBytes, pool.sendBytes ?? 0)
})

export const resolve = (settings: Settings): Resolved => ({
  on: settings.on ?? "worker",
  crc: settings.crc ?? true,
  revision: settings.revision ?? 2,
  peerToPeer: settings.peerToPeer ?? true,
  segmentBytes: settings.segmentBytes,
  connectWithinMs: settings.connectWithinMs ?? 10_000,
  peerWithinMs: settings.peerWithinMs ?? settings.connectWithinMs ?? 10_000,
  requestWithinMs: settings.requestWithinMs ?? 5_000,
  decideWithinMs: settings.decideWithinMs ?? 10_000,
  answerWithinMs: settings.answerWithinMs ?? 30_000,
  refreshEveryMs: settings.refreshEveryMs ?? 1_000,
  route: settings.route ?? ((to) => to),
  arrivesFrom: settings.arrivesFrom ?? ((address) => address),
  secret: settings.secret,
  tls: settings.tls,
  callersMax: settings.callersMax ?? 512,
  callsMax: settings.callsMax ?? 8,
  callersPerAddressMax: settings.callersPerAddressMax ?? 256
})
