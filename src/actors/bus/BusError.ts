/** Why a node could not start, join a cluster or publish. */
import * as Schema from "effect/Schema"

/**
 * The settings would let strangers into the cluster, or keep this node out of it. The bus has no
 * authentication of its own: beyond loopback it needs TLS with client certificates, or a decision.
 */
export class BusRefused extends Schema.TaggedError<BusRefused>("handfast/bus/BusRefused")(
  "BusRefused",
  {
    reason: Schema.Literals([
      "Unprotected",
      "Unreachable",
      "BadAddress",
      "BadLimit",
      "BadShard",
      // The effect of `tls` has failed, or its texts are no certificates that belong together.
      "NoCertificates"
    ]),
    detail: Schema.String
  }
) {
  override get message() {
    return `${this.reason}: ${this.detail}`
  }
}

/** No peer is connected that would take a publication, or none had room for it. */
export class NotPublished extends Schema.TaggedError<NotPublished>("handfast/bus/NotPublished")(
  "NotPublished",
  { full: Schema.Int, closed: Schema.Int }
) {
  override get message() {
    return `no peer took it: ${this.full} had no room, ${this.closed} are not connected`
  }
}

/** Why a node did not join at an address. */
export class MeetFailed extends Schema.TaggedError<MeetFailed>("handfast/bus/MeetFailed")(
  "MeetFailed",
  {
    address: Schema.String,
    reason: Schema.Literals([
      // Nothing listens there, or what does neither answers as a node nor as what follows.
      "NoAnswer",
      // Clients are served there. `bus` is where peers are.
      "NotABus",
      // The peer wants TLS, and this node has no settings for it.
      "SpeaksTls",
      // The handshake failed: the peer speaks no TLS, or one side refused a certificate.
      "TlsRefused",
      "Myself",
      "OtherCluster",
      // A node answered, and did not connect to this one.
      "CannotReachUs",
      "BadAddress"
    ]),
    detail: Schema.String,
    /** The address of the bus, if what answered named it, or else by the servers' rule. */
    bus: Schema.optionalKey(Schema.String)
  }
) {
  override get message() {
    return `${this.address}: ${this.reason}: ${this.detail}`
  }
}

/** Why a node was not forgotten. */
export class ForgetRefused extends Schema.TaggedError<ForgetRefused>("handfast/bus/ForgetRefused")(
  "ForgetRefused",
  { id: Schema.String, reason: Schema.Literals(["unknown", "ownsSlots", "myself"]) }
) {
  override get message() {
    return `${this.id} was not forgotten: ${this.reason}`
  }
}
