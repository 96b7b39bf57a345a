/** The settings of a node that its decisions depend on, their defaults and the reasons for them. */

/** Milliseconds unless the name says otherwise. */
export interface NodeSettings {
  /**
   * `cluster-node-timeout` of the cluster, which is not on the wire. A node that says nothing for
   * so long is suspected. Default 15 s, as in the servers.
   */
  readonly nodeTimeoutMs: number
  /** How long workers answer PINGs for a main thread that is busy. Default twice the timeout. */
  readonly answerMs: number
  /** Connections that have not shown whose they are, in each direction. */
  readonly maxUnprovenLinks: number
  /** Frames that such a connection may send: a handshake is two. */
  readonly maxUnprovenFrames: number
  /** Nodes of a cluster; servers recommend at most 1,000. */
  readonly maxMembers: number
  /** Wait after a failed dial, and the longest one: a dead peer costs a dial every few seconds. */
  readonly firstRedialMs: number
  readonly longestRedialMs: number
  /** How long servers refuse a node after CLUSTER FORGET. */
  readonly forgetMs: number
}

const defaults = {
  nodeTimeoutMs: 15_000,
  maxUnprovenLinks: 16,
  maxUnprovenFrames: 16,
  maxMembers: 4_096,
  firstRedialMs: 100,
  longestRedialMs: 5_000,
  forgetMs: 60_000
} as const

export const settingsOf = (given: Partial<NodeSettings> = {}): NodeSettings => ({
  answerMs: 2 * (given.nodeTimeoutMs ?? defaults.nodeTimeoutMs),
  ...defaults,
  ...given
})
