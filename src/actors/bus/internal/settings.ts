/** The settings of a node that its decisions depend on, their defaults and the reasons for them. */
import type * as Effect from "effect/Effect"
import type { TlsSettings } from "../../../native/io/IoPool.ts"
import { headerBytes } from "../../../schema/bus/Layout.ts"
import { longestFrameBytes } from "./framing.ts"

/** Numbers are of what the name says; all are integers above 0. */
export interface NodeSettings {
  /**
   * Milliseconds after which a silent node is suspected: `cluster-node-timeout` of the cluster,
   * which is not on the wire. Default 15 s: that of the servers.
   */
  readonly nodeTimeoutMs: number
  /**
   * Milliseconds for which workers answer PINGs while the main thread is busy. Default twice the
   * node timeout: a longer pause is a dead node.
   */
  readonly answerMs: number
  /**
   * Milliseconds for `meet`, until links lead both ways. Default twice the node timeout: a server
   * gives a handshake one.
   */
  readonly meetWithinMs: number
  /**
   * Milliseconds without an answer after which `meet` asks what listens there, and waits for that
   * answer. Default half the node timeout, 1 s at most: a node answers within milliseconds.
   */
  readonly probeAfterMs: number
  /**
   * Connections that have not shown whose they are, and names that have not answered yet. Default
   * 16: a handshake takes milliseconds, so more of them are a storm or an attack.
   */
  readonly maxUnprovenLinks: number
  /** Frames that such a connection may send. Default 16: a handshake is two. */
  readonly maxUnprovenFrames: number
  /**
   * Bytes of the longest frame on such a connection; it is closed over a longer one. Default
   * 64 KiB: a PING with gossip about 600 nodes.
   */
  readonly maxUnprovenBytes: number
  /**
   * Bytes of the longest frame of a member, up to 64 MiB; longer publications are skipped and
   * counted. Default 1 MiB: publications are small, and each lane may hold one frame.
   */
  readonly maxFrameBytes: number
  /**
   * Bytes of a link's send queue that publications leave free for heartbeats. Default 64 KiB: over
   * a dozen of them with gossip about 20 nodes each.
   */
  readonly heartbeatBytes: number
  /** Nodes of the cluster. Default 4096: servers recommend at most 1,000. */
  readonly maxMembers: number
  /** Milliseconds between a failed dial and the next. Default 100 ms: the servers' own pace. */
  readonly firstRedialMs: number
  /**
   * Milliseconds to which that wait grows. Default 5 s, half the node timeout at most: of a
   * thousand dead peers 200 are dialled each second, and a live one is sent PINGs in time.
   */
  readonly longestRedialMs: number
  /** Addresses without a member whose pace is kept. Default 64: seeds, and nodes that moved. */
  readonly maxIdlePaces: number
  /**
   * Links to one peer, each lost within a node timeout, that mean that another node has this node's
   * id. Default 3 within two node timeouts: a restart of a peer costs one or two.
   */
  readonly lossesOfCopy: number
  /** Milliseconds for which a forgotten node stays away. Default 60 s: that of CLUSTER FORGET. */
  readonly forgetMs: number
  /** Milliseconds for which a peer may have a node ignored. Default a day: a wrong claim ends. */
  readonly longestBanMs: number
  /**
   * What the cluster's epoch may grow by at once. Default 2^32: it grows by one a failover, so a
   * longer leap is a broken or hostile claim.
   */
  readonly maxEpochLeap: number
  /** Publications that wait for one subscriber. Default 4096: those of about a second. */
  readonly waitingMessages: number
  /** Bytes of them. Default 16 MiB: that many of 4 KiB. */
  readonly waitingBytes: number
}

/** The addresses of a node and of its cluster, and the nodes that it admits. */
export interface Settings extends Partial<NodeSettings> {
  /** Bus addresses, `host:port`, of nodes that take this one in. They are tried until one does. */
  readonly meet?: ReadonlyArray<string>
  /** The address to listen at. Default: loopback, on the port of the last start, or a free one. */
  readonly listen?: { readonly host?: string; readonly port?: number }
  /** The address for peers, if it is not the one to listen at, for example behind NAT. */
  readonly announce?: { readonly ip: string; readonly port: number }
  /** The port that clients are told. Default 0: this node serves none. */
  readonly clientPort?: number
  /**
   * TLS both ways. A cluster shares one authority: `verify: "chain"`. An effect, such as one that
   * reads files, is run at the start and at each `reload`.
   */
  readonly tls?: TlsSettings | Effect.Effect<TlsSettings, unknown>
  /**
   * Which nodes may ask this one to take them in, and are asked that by `meet`. By default any may
   * while this node knows no cluster, and none afterwards: a node that joins a member merges its
   * cluster with the member's.
   */
  readonly admit?: "anyone" | ((id: string, address: string) => boolean)
  /**
   * The shard of this node, 40 hex digits: servers send it what is published to that shard's
   * channels. Default: one of its own, as in the journal.
   */
  readonly shard?: string
  /** The name of this node in the journal. Default `node`. */
  readonly name?: string
}

const defaults = {
  nodeTimeoutMs: 15_000,
  maxUnprovenLinks: 16,
  maxUnprovenFrames: 16,
  maxUnprovenBytes: 65_536,
  maxFrameBytes: 1_048_576,
  heartbeatBytes: 65_536,
  maxMembers: 4_096,
  firstRedialMs: 100,
  maxIdlePaces: 64,
  lossesOfCopy: 3,
  forgetMs: 60_000,
  longestBanMs: 86_400_000,
  maxEpochLeap: 4_294_967_296,
  waitingMessages: 4_096,
  waitingBytes: 16_777_216
} as const

export const settingsOf = (given: Partial<NodeSettings> = {}): NodeSettings => {
  const { nodeTimeoutMs = defaults.nodeTimeoutMs } = given
  const derived = {
    answerMs: 2 * nodeTimeoutMs,
    meetWithinMs: 2 * nodeTimeoutMs,
    longestRedialMs: Math.min(
      5_000,
      Math.max(defaults.firstRedialMs, Math.ceil(nodeTimeoutMs / 2))
    ),
    probeAfterMs: Math.min(1_000, Math.ceil(nodeTimeoutMs / 2))
  }
  return { ...derived, ...defaults, ...given }
}

/** The first setting that cannot work alone or beside the others, and why. */
export const brokenLimit = (settings: NodeSettings): string | undefined => {
  const names = Object.keys(settingsOf()) as Array<keyof NodeSettings>
  const wrong = names.find((name) => !Number.isSafeInteger(settings[name]) || settings[name] < 1)
  if (wrong !== undefined) return `${wrong} is ${settings[wrong]}: it must be an integer above 0`
  const { firstRedialMs, longestRedialMs, maxFrameBytes, maxUnprovenBytes } = settings
  if (maxUnprovenBytes < headerBytes) return `maxUnprovenBytes is below a PING's ${headerBytes}`
  if (maxFrameBytes < maxUnprovenBytes) return "maxFrameBytes is below maxUnprovenBytes"
  if (maxFrameBytes > longestFrameBytes) return `maxFrameBytes is above ${longestFrameBytes}`
  return firstRedialMs > longestRedialMs ? "firstRedialMs is above longestRedialMs" : undefined
}
