/**
 * Errors of verbs operations. A failure of posted work is no error of an operation: it is the
 * status of a completion.
 */
import * as Schema from "effect/Schema"
import { states } from "./QueuePairState.ts"

const State = Schema.Literals(states)

/** The provider cannot do this on this machine: a library, a device or a feature is absent. */
export class Unsupported extends Schema.TaggedError<Unsupported>()("Unsupported", {
  provider: Schema.String,
  feature: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.provider}: no ${this.feature}: ${this.detail}`
  }
}

export class DeviceNotFound extends Schema.TaggedError<DeviceNotFound>()("DeviceNotFound", {
  device: Schema.String,
  available: Schema.Array(Schema.String)
}) {
  override get message() {
    return `no device ${this.device}; there is ${this.available.join(", ") || "none"}`
  }
}

/** The device was removed, or a resource on it was released. No operation on it works any more. */
export class Released extends Schema.TaggedError<Released>()("Released", {
  resource: Schema.String,
  reason: Schema.Literals(["device-removed", "released"])
}) {
  override get message() {
    return `${this.resource} is gone (${this.reason})`
  }
}

/** The device has no more of a resource, or less than requested. */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  device: Schema.String,
  resource: Schema.String,
  limit: Schema.Finite,
  wanted: Schema.Finite
}) {
  override get message() {
    return `${this.device}: ${this.wanted} ${this.resource} wanted, ${this.limit} possible`
  }
}

/** An attribute has a value that the device does not accept. */
export class InvalidAttribute extends Schema.TaggedError<InvalidAttribute>()("InvalidAttribute", {
  operation: Schema.String,
  attribute: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.operation}: ${this.attribute}: ${this.detail}`
  }
}

/** A queue pair cannot make a transition from its present state. */
export class IllegalTransition extends Schema.TaggedError<IllegalTransition>()(
  "IllegalTransition",
  { queuePair: Schema.Int, from: State, to: State }
) {
  override get message() {
    return `queue pair ${this.queuePair} cannot go from ${this.from} to ${this.to}`
  }
}

/** The device refused a legal transition. The queue pair is in error. */
export class ModifyFailed extends Schema.TaggedError<ModifyFailed>()("ModifyFailed", {
  queuePair: Schema.Int,
  to: State,
  detail: Schema.String
}) {
  override get message() {
    return `queue pair ${this.queuePair} to ${this.to}: ${this.detail}`
  }
}

/** The address has a listener already. */
export class AddressInUse extends Schema.TaggedError<AddressInUse>()("AddressInUse", {
  host: Schema.String,
  port: Schema.Int
}) {
  override get message() {
    return `${this.host}:${this.port} is in use`
  }
}

/** The peer declined: no listener, a full backlog, or a rejection by its program. */
export class ConnectRejected extends Schema.TaggedError<ConnectRejected>()("ConnectRejected", {
  peer: Schema.String,
  reason: Schema.Literals(["no-listener", "backlog-full", "rejected", "incompatible"]),
  /** The private data of the rejection. */
  privateData: Schema.Uint8Array
}) {
  override get message() {
    return `${this.peer} rejected the connection (${this.reason})`
  }
}

/** No answer came, or the connection ended while it was being made. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  peer: Schema.String,
  step: Schema.Literals(["address", "route", "connect", "accept"]),
  detail: Schema.String
}) {
  override get message() {
    return `${this.peer} cannot be reached (${this.step}): ${this.detail}`
  }
}

export type DeviceOpenError = Unsupported | DeviceNotFound

export type CreateError = Released | LimitExceeded | InvalidAttribute

export type ModifyError = Released | IllegalTransition | InvalidAttribute | ModifyFailed

export type ListenError = Released | AddressInUse | InvalidAttribute | LimitExceeded

export type ConnectError = ModifyError | ConnectRejected | Unreachable | LimitExceeded

export type AcceptError = ModifyError | Unreachable | LimitExceeded
