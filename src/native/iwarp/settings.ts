/** Settings of the iWARP provider. Each limit has a default with its reason. */
import type { Settings as PoolSettings, TlsSettings } from "../io/IoPool.ts"
import { timer, whole } from "../io/settingRanges.ts"
import type { Address } from "../verbs/Connection.ts"
import { laneBytes } from "./transmit.ts"

export interface Settings {
  /** The workers that hold the sockets. */
  readonly pool?: PoolSettings | undefined
  /**
   * The thread of sockets. Default `worker`: one-sided access is served while this thread is busy.
   */
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
   * Bytes of a TCP segment, to keep each FPDU within one, as hardware peers need: 1448 on Ethernet.
   * Default: none, for the longest FPDUs.
   */
  readonly segmentBytes?: number | undefined
  /** Milliseconds for a connection to be made. Default 10 s, as Linux waits for a reply. */
  readonly connectWithinMs?: number | undefined
  /**
   * Milliseconds that posted work waits for an unconnected peer. Default: `connectWithinMs`, the
   * time that the peer has to connect; a NIC gives up after its retries, often within a second.
   */
  readonly peerWithinMs?: number | undefined
  /** Milliseconds for a caller to send its request. Default 5 s, as Linux waits for one. */
  readonly requestWithinMs?: number | undefined
  /** Milliseconds for the program to accept or reject. Default 10 s: the caller waits as long. */
  readonly decideWithinMs?: number | undefined
  /** Milliseconds that a peer may take no bytes, or owe an answer. Default 30 s. */
  readonly answerWithinMs?: number | undefined
  /**
   * Milliseconds between two reads of the interface's addresses while a device's events are read,
   * or all of them are listened at: Node gives no notice of changes, and each read asks the kernel
   * for all of them. Default 1 s, sooner than TCP notices that a peer is gone.
   */
  readonly refreshEveryMs?: number | undefined
  /**
   * The address by which this machine reaches a peer's address, if it differs: through a forwarded
   * port, a translated address, or a relay of a test. Default: the same address.
   */
  readonly route?: ((to: Address) => Address) | undefined
  /**
   * The source address of a peer's out-of-band calls, given the address of its GID: the other
   * direction of `route`. Calls from elsewhere are refused. Default: the same address.
   */
  readonly arrivesFrom?: ((address: string) => string) | undefined
  /**
   * Proves the two ends of an out-of-band connection to each other, if both are this library's and
   * have the same one. It does not keep out an attacker that reads the network. Default: none.
   */
  readonly secret?: string | undefined
  /**
   * TLS below iWARP, in the workers, for peers of this library that have it, too. `verify` and `ca`
   * of each side decide what the certificates prove. Default: none, as NICs have none.
   */
  readonly tls?: { readonly listen: TlsSettings; readonly connect: TlsSettings } | undefined
  /**
   * Callers of one listener, or of the device's out-of-band port, whose first FPDU has not come. At
   * the limit the oldest is closed. Default 512, four times the requests that wait for a program.
   */
  readonly callersMax?: number | undefined
  /**
   * Calls of a queue pair to its out-of-band peer. Default 8, over 2 s: the first call is accepted
   * unless the network fails, and the address may belong to another host.
   */
  readonly callsMax?: number | undefined
  /** As `callersMax`, from one address. Default 256: one host alone leaves room for others. */
  readonly callersPerAddressMax?: number | undefined
}

/** The numbers among the settings. A wrong one would refuse every connection, or bound nothing. */
export const ranges = {
  // The least that MPA asks of a segment.
  segmentBytes: whole(128, 65_535),
  connectWithinMs: timer(1),
  peerWithinMs: timer(1),
  requestWithinMs: timer(1),
  decideWithinMs: timer(1),
  answerWithinMs: timer(1),
  refreshEveryMs: timer(1),
  callersMax: whole(1),
  callsMax: whole(1),
  callersPerAddressMax: whole(1)
}

/** Settings that may be undefined. */
type Open = "segmentBytes" | "secret" | "tls"

/** All settings, with their values. */
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
