/**
 * The faults of a simulated fabric and of its hosts' TCP, as plain values: they are drawn, shrunk
 * and saved with a test.
 *
 * A node is a host (`"a"`, with all its devices) or one device (`"a/sim0"`). A lasting fault ends
 * after `forMillis` of the fabric's time.
 */
import * as Schema from "effect/Schema"
import { mtus } from "../../schema/Mtu.ts"

const Millis = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const link = { from: Schema.String, to: Schema.String, forMillis: Millis }
const lasting = { node: Schema.String, forMillis: Millis }

/** Each transition of a queue pair takes so much longer. */
export const SlowModify = Schema.TaggedStruct("SlowModify", { ...lasting, millis: Millis })

/** A share of the messages from one node to another is lost. */
export const Loss = Schema.TaggedStruct("Loss", {
  ...link,
  share: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
})

/** All messages in one direction are lost. */
export const Cut = Schema.TaggedStruct("Cut", link)

/** Messages from one node to another take so much longer. */
export const Delay = Schema.TaggedStruct("Delay", { ...link, millis: Millis })

/** A node answers as if it had no receive posted. */
export const Rnr = Schema.TaggedStruct("Rnr", lasting)

/** The next message that a node sends ends with `retry-exceeded`. */
export const RetryExhaustion = Schema.TaggedStruct("RetryExhaustion", { node: Schema.String })

/** A queue pair of a node fails: at its next transition to that state, or while it runs. */
export const QueuePairError = Schema.TaggedStruct("QueuePairError", {
  node: Schema.String,
  step: Schema.Literals(["init", "rtr", "rts", "running"])
})

/** A port goes down and comes up again. */
export const PortFlap = Schema.TaggedStruct("PortFlap", lasting)

/** A port gets another first GID, for good. Connections by the old one are cut off. */
export const GidChange = Schema.TaggedStruct("GidChange", { node: Schema.String })

/** A device refuses each transition to `rtr` that uses this one of its port's GIDs. */
export const GidRefusal = Schema.TaggedStruct("GidRefusal", {
  ...lasting,
  index: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
})

/** A device is removed, with all its resources, and plugged in again. */
export const DeviceRemoval = Schema.TaggedStruct("DeviceRemoval", lasting)

/** A port takes only packets up to this size. */
export const MtuMismatch = Schema.TaggedStruct("MtuMismatch", {
  ...lasting,
  mtu: Schema.Literals(mtus)
})

/** One TCP connection of a host breaks at both ends. */
export const Reset = Schema.TaggedStruct("Reset", { node: Schema.String })

/**
 * One TCP connection between two hosts carries nothing any more, and neither end is told: what
 * lies between has forgotten it.
 */
export const HalfOpen = Schema.TaggedStruct("HalfOpen", { from: Schema.String, to: Schema.String })

/** A host refuses clients over TLS after their connect, as TLS 1.3 does. */
export const TlsRefusal = Schema.TaggedStruct("TlsRefusal", lasting)

export const FabricFault = Schema.Union([
  SlowModify,
  Loss,
  Cut,
  Delay,
  Rnr,
  RetryExhaustion,
  QueuePairError,
  PortFlap,
  GidChange,
  GidRefusal,
  DeviceRemoval,
  MtuMismatch,
  Reset,
  HalfOpen,
  TlsRefusal
])

export type FabricFault = typeof FabricFault.Type

/** Describes a fault in one line. */
export const describe = (fault: FabricFault): string => {
  switch (fault._tag) {
    case "SlowModify":
      return `each step of a queue pair of ${fault.node} takes ${fault.millis} ms`
    case "Loss":
      return `loss of ${Math.round(fault.share * 100)} % from ${fault.from} to ${fault.to}`
    case "Cut":
      return `cut from ${fault.from} to ${fault.to}`
    case "Delay":
      return `delay of ${fault.millis} ms from ${fault.from} to ${fault.to}`
    case "Rnr":
      return `${fault.node} has no receives`
    case "RetryExhaustion":
      return `retries exhausted at ${fault.node}`
    case "QueuePairError":
      return `error of a queue pair of ${fault.node}, ${fault.step}`
    case "PortFlap":
      return `port of ${fault.node} down`
    case "GidChange":
      return `another GID for ${fault.node}`
    case "GidRefusal":
      return `${fault.node} refuses its GID ${fault.index}`
    case "DeviceRemoval":
      return `device of ${fault.node} removed`
    case "MtuMismatch":
      return `${fault.node} takes packets up to ${fault.mtu}`
    case "Reset":
      return `reset of a connection of ${fault.node}`
    case "HalfOpen":
      return `a connection between ${fault.from} and ${fault.to} is half open`
    case "TlsRefusal":
      return `${fault.node} refuses clients over TLS`
  }
}
