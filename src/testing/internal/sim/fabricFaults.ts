/** Draws faults of simulated RDMA fabrics. */
import type { FabricFault } from "../../../native/sim/FabricFault.ts"
import { mtus } from "../../../schema/Mtu.ts"
import type { Prng } from "./prng.ts"

/** The faults of fabrics that a run may draw. */
export interface FabricOptions {
  /** The hosts or devices that faults affect. */
  readonly nodes: ReadonlyArray<string>
  /** Default: all kinds that strike devices. */
  readonly kinds?: ReadonlyArray<FabricFault["_tag"]> | undefined
}

/** All kinds that strike devices. */
const fabricFaultKinds: ReadonlyArray<FabricFault["_tag"]> = [
  "SlowModify",
  "Loss",
  "Cut",
  "Delay",
  "Rnr",
  "RetryExhaustion",
  "QueuePairError",
  "PortFlap",
  "GidChange",
  "DeviceRemoval",
  "MtuMismatch",
  "GidRefusal"
]

/** Kinds that end or hold up what is between two hosts. */
export const cutKinds = ["Cut", "Reset", "HalfOpen"] as const

/** Kinds that make what is between two hosts late. */
export const slowKinds = ["Delay", "Loss"] as const

/** All kinds that can be asked for by name. */
export const knownFaultKinds: ReadonlyArray<FabricFault["_tag"]> = [
  ...fabricFaultKinds,
  "Reset",
  "HalfOpen",
  "TlsRefusal"
]

/** The longest delay of a message or a step, in milliseconds. */
const longestDelay = 64
const shares = [0.01, 0.1, 0.5] as const
const steps = ["init", "rtr", "rts", "running"] as const

/** One fault. */
export const drawFabricFault = (
  prng: Prng,
  { kinds = fabricFaultKinds, nodes }: FabricOptions,
  within: number
): FabricFault => {
  const _tag = prng.pick(kinds)
  const node = prng.pick(nodes)
  const to = prng.pick(nodes)
  const forMillis = 1 + prng.byMagnitude(Math.log2(1 + within))
  const millis = 1 + prng.below(longestDelay)
  switch (_tag) {
    case "SlowModify":
      return { _tag, node, forMillis, millis }
    case "Loss":
      return { _tag, from: node, to, forMillis, share: prng.pick(shares) }
    case "Cut":
      return { _tag, from: node, to, forMillis }
    case "Delay":
      return { _tag, from: node, to, forMillis, millis }
    case "QueuePairError":
      return { _tag, node, step: prng.pick(steps) }
    case "HalfOpen":
      return { _tag, from: node, to }
    case "Reset":
    case "RetryExhaustion":
    case "GidChange":
      return { _tag, node }
    case "GidRefusal":
      return { _tag, node, forMillis, index: prng.below(2) }
    case "MtuMismatch":
      return { _tag, node, forMillis, mtu: prng.pick(mtus) }
    default:
      return { _tag, node, forMillis }
  }
}
