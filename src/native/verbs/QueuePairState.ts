/**
 * The states of a queue pair, and the transitions between them. Pure: every provider uses it, also
 * in a worker thread.
 *
 * A queue pair is created in `reset`. It receives from `rtr` on and sends from `rts` on. A failure
 * takes it to `err`, where all posted work is flushed; from there it only goes back to `reset`.
 * That flushes too, whereas bare devices drop posted work.
 */
import type { Gid } from "../../schema/Gid.ts"
import { type Mtu, mtus } from "../../schema/Mtu.ts"
import type { Access } from "./Region.ts"

/** All states, in the order of the way to `rts`. */
export const states = ["reset", "init", "rtr", "rts", "err"] as const

export type State = (typeof states)[number]

/** The path to the peer's port. */
export interface Path {
  readonly gid: Gid
  /** The local identifier on InfiniBand; 0 on Ethernet. Default 0. */
  readonly lid?: number | undefined
  /** The index of the local port's GID that is the source. Default 0. */
  readonly gidIndex?: number | undefined
  /** Default 16. */
  readonly hopLimit?: number | undefined
  /** Default 0. */
  readonly trafficClass?: number | undefined
  /** Default 0. */
  readonly serviceLevel?: number | undefined
}

/** From `reset`: the local port, and the peer's rights on memory. */
export interface ToInit {
  readonly to: "init"
  /** Default 1. */
  readonly port?: number | undefined
  /** Default 0. */
  readonly pkeyIndex?: number | undefined
  /** A region's rights count only if they are listed here, too. Default: none. */
  readonly access?: ReadonlyArray<Access> | undefined
}

/** From `init`: the peer, and how to receive. */
export interface ToReadyToReceive {
  readonly to: "rtr"
  readonly path: Path
  readonly mtu: Mtu
  /** The peer's queue pair. */
  readonly peer: number
  /** The number of the peer's first packet, its `firstSequence`. 24 bits. Default 0. */
  readonly peerSequence?: number | undefined
  /** Reads and atomic operations of the peer that may be under way here. Default 16. */
  readonly inboundReads?: number | undefined
  /**
   * A secret of both ends, from their handshake. A provider that makes a separate connection for
   * the two queue pairs (iWARP) accepts it only if the other end proves that it knows the key.
   * Default: none.
   */
  readonly key?: string | undefined
  /** Time that a peer waits after it met no posted receive: a code, 12 is 0.64 ms. Default 12. */
  readonly minRnrTimer?: number | undefined
}

/** From `rtr`: how to send. */
export interface ToReadyToSend {
  readonly to: "rts"
  /** The sequence number of the first packet. 24 bits. Default 0. */
  readonly firstSequence?: number | undefined
  /** Time to wait for the peer's answer: 4.096 µs · 2^code; 14 is 67 ms. Default 14. */
  readonly timeout?: number | undefined
  /** Times that a message without an answer is sent again, 0 to 7. Default 7. */
  readonly retries?: number | undefined
  /** Times that a message is sent again that met no posted receive; 7 is for ever. Default 7. */
  readonly rnrRetries?: number | undefined
  /** Reads and atomic operations of this side that may be under way. Default 16. */
  readonly outboundReads?: number | undefined
}

/** To `err` from everywhere; to `reset` from everywhere. */
export interface ToErrorOrReset {
  readonly to: "err" | "reset"
}

/** One transition, with its attributes. */
export type Transition = ToInit | ToReadyToReceive | ToReadyToSend | ToErrorOrReset

/** The defaults of the attributes. */
export const defaults = {
  port: 1,
  pkeyIndex: 0,
  lid: 0,
  gidIndex: 0,
  hopLimit: 16,
  trafficClass: 0,
  serviceLevel: 0,
  peerSequence: 0,
  inboundReads: 16,
  minRnrTimer: 12,
  firstSequence: 0,
  timeout: 14,
  retries: 7,
  rnrRetries: 7,
  outboundReads: 16
} as const

/** `timeout` in milliseconds; code 0 means forever. */
export const timeoutMs = (code: number): number => (code === 0 ? Infinity : 0.004096 * 2 ** code)

/** `minRnrTimer` in milliseconds: 1, 1.5, 2, 3, 4, 6 ... hundredths; code 0 comes last. */
export const rnrTimerMs = (code: number): number => {
  if (code < 5) return code === 0 ? 655.36 : code / 100
  return ((code % 2 === 0 ? 4 : 6) * 2 ** Math.floor((code - 4) / 2)) / 100
}

/** Whether a transition is legal. `init` may be repeated, to change its attributes. */
export const canTransition = (from: State, to: State): boolean => {
  switch (to) {
    case "reset":
    case "err":
      return true
    case "init":
      return from === "reset" || from === "init"
    case "rtr":
      return from === "init"
    case "rts":
      return from === "rtr" || from === "rts"
  }
}

/** Whether sends may be posted. In `err` they are accepted and flushed. */
export const canSend = (state: State): boolean => state === "rts" || state === "err"

/** Whether receives may be posted: from `init` on, so that they are ready before the peer sends. */
export const canPostReceive = (state: State): boolean => state !== "reset"

/** Whether messages of the peer are handled. */
export const canReceive = (state: State): boolean => state === "rtr" || state === "rts"

/** An attribute that is out of its range. */
export interface InvalidValue {
  readonly attribute: string
  readonly detail: string
}

const ranges: Readonly<Record<string, readonly [number, number]>> = {
  port: [1, 255],
  pkeyIndex: [0, 0xffff],
  peer: [0, 0xffffff],
  peerSequence: [0, 0xffffff],
  inboundReads: [0, 255],
  minRnrTimer: [0, 31],
  firstSequence: [0, 0xffffff],
  timeout: [0, 31],
  retries: [0, 7],
  rnrRetries: [0, 7],
  outboundReads: [0, 255],
  lid: [0, 0xffff],
  gidIndex: [0, 255],
  hopLimit: [0, 255],
  trafficClass: [0, 255],
  serviceLevel: [0, 15]
}

const outOfRange = (attributes: object): InvalidValue | undefined => {
  for (const [attribute, value] of Object.entries(attributes)) {
    const range = ranges[attribute]
    if (range === undefined || value === undefined) continue
    const [lowest, highest] = range
    if (!Number.isInteger(value) || value < lowest || value > highest) {
      return { attribute, detail: `${value} is not a whole number from ${lowest} to ${highest}` }
    }
  }
  return undefined
}

/** The first attribute of a transition that no queue pair accepts. */
export const validateRanges = (step: Transition): InvalidValue | undefined => {
  const invalid = outOfRange(step)
  if (invalid !== undefined || step.to !== "rtr") return invalid
  if (!mtus.includes(step.mtu)) return { attribute: "mtu", detail: `no ${step.mtu}` }
  if (!/^[0-9a-f]{32}$/.test(step.path.gid) || /^0+$/.test(step.path.gid)) {
    return { attribute: "gid", detail: `"${step.path.gid}" names no port` }
  }
  return outOfRange(step.path)
}
