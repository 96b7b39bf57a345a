/** Answers a frame, independent of the transport. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { PeerInfo } from "../../../../native/io/internal/messages.ts"
import type { Gid } from "../../../../schema/Gid.ts"
import * as Body from "../../../../schema/mooncake/Body.ts"
import type { TextFault } from "../../../../schema/mooncake/Fault.ts"
import { type Frame, FrameType } from "../../../../schema/mooncake/Frame.ts"
import * as Wire from "../../../../schema/mooncake/Handshake.ts"
import * as NicPath from "../../../../schema/mooncake/NicPath.ts"
import * as Notify from "../../../../schema/mooncake/Notify.ts"
import * as Probe from "../../../../schema/mooncake/Probe.ts"
import * as RejectReason from "../../../../schema/mooncake/RejectReason.ts"
import * as SegmentDescriptor from "../../../../schema/mooncake/SegmentDescriptor.ts"
import type { Reception } from "../../EndpointStore.ts"
import { Rejected } from "../../Handshake.ts"
import * as Mooncake from "./codec.ts"
import type { NotifyInbox } from "./notifyInbox.ts"

/** A caller, and what it asks for. */
export interface Caller {
  /** Address from the socket, and the certificate if there is one. */
  readonly peer: PeerInfo
  readonly asks: "handshake" | "metadata" | "notify" | "probe"
  /** Paths of the peer's NIC, as it names it, and of the local one; of handshakes only. */
  readonly from?: string
  readonly to?: string
}

/** Reading it costs a system call, so it is read only by checks that need it. */
type CallerPeer = Pick<Caller, "peer">

interface Options {
  readonly nameChars?: number | undefined
  readonly admit?: ((caller: Caller) => boolean) | undefined
  readonly gidOf?: ((path: string) => Gid | undefined) | undefined
  readonly segment?: Effect.Effect<SegmentDescriptor.SegmentDescriptor> | undefined
}

/** The text of the answer, if there is one, and the outcome for the metrics. */
export interface Answer {
  readonly text: string | undefined
  readonly outcome: "answered" | "refused"
}

const yes = (text: string): Answer => ({ text, outcome: "answered" })
const closed: Answer = { text: undefined, outcome: "refused" }
/** Characters of a path: 253 of a host, 6 of its port, 64 of a device, and room. */
const mostNameChars = 512

const unknown = (): undefined => undefined

const said = (answer: Wire.Answer): Answer => ({
  text: Body.encode(Wire.toBody(answer)),
  outcome: answer._tag === "Rejected" ? "refused" : "answered"
})
const rejected = (reason: RejectReason.RejectReason): Answer => said({ _tag: "Rejected", reason })

const taken = said({ _tag: "AckReply" })

export class RequestHandler {
  readonly #receptions: ReadonlyMap<string, Reception>
  readonly #notifies: NotifyInbox
  readonly #instance: string
  readonly #options: Options

  constructor(
    receptions: ReadonlyMap<string, Reception>,
    notifies: NotifyInbox,
    instance: string,
    options: Options
  ) {
    this.#receptions = receptions
    this.#notifies = notifies
    this.#instance = instance
    this.#options = options
  }

  answer({ text, type }: Frame, caller: CallerPeer): Effect.Effect<Answer, TextFault> {
    switch (type) {
      case FrameType.connection:
        return Effect.suspend(() => this.#handshake(text, caller))
      case FrameType.metadata:
        return Effect.suspend(() => this.#metadata(caller))
      case FrameType.notify:
        return Effect.suspend(() => this.#notify(text, caller))
      case FrameType.probe:
        return Effect.sync(() => (this.#admits(caller, "probe") ? this.#probe(text) : closed))
    }
  }

  #admits(caller: CallerPeer, asks: Caller["asks"], paths = {}): boolean {
    const { admit } = this.#options
    return admit === undefined || admit({ peer: caller.peer, asks, ...paths })
  }

  /** Answers any probe, to show that this process is alive. */
  #probe(text: string): Answer {
    const asked = Probe.decode(text)
    const isWho = Result.isSuccess(asked) && asked.success.instance !== undefined
    return yes(Probe.encode(isWho ? { ...Probe.alive, instance: this.#instance } : Probe.alive))
  }

  #handshake(text: string, caller: CallerPeer): Effect.Effect<Answer, TextFault> {
    const body = Body.decode(text)
    if (Result.isFailure(body)) return Effect.fail(body.failure)
    const call = Wire.readCall(body.success)
    if (Result.isFailure(call)) return Effect.succeed(rejected(call.failure))
    const { receiver, sender } = call.success
    const [from, to] = [NicPath.print(sender), NicPath.print(receiver)]
    // Checked before a path is used as a name: names are kept, and repeated in answers.
    const { nameChars = mostNameChars } = this.#options
    if (Math.max(from.length, to.length) > nameChars) {
      const detail = `a path has more than ${nameChars} characters`
      return Effect.succeed(rejected({ _tag: "Other", detail }))
    }
    const reception = this.#receptions.get(to)
    if (reception === undefined) return Effect.succeed(rejected(this.#unknownNic(receiver)))
    const message = Mooncake.saidBy(call.success, this.#options.gidOf ?? unknown)
    if (Result.isFailure(message)) return Effect.succeed(rejected(message.failure))
    if (!this.#admits(caller, "handshake", { from, to })) {
      const no = new Rejected({ by: to, reason: "not-admitted", text: `${from} may not connect` })
      return Effect.succeed(rejected(Mooncake.reasonOf(no, message.success)))
    }
    return Effect.catch(this.#take(reception, message.success, call.success, caller), (no) =>
      Effect.succeed(rejected(Mooncake.reasonOf(no, message.success)))
    )
  }

  #take(
    reception: Reception,
    message: Mooncake.Said,
    call: Wire.Call,
    caller: CallerPeer
  ): Effect.Effect<Answer, Rejected> {
    switch (message._tag) {
      case "Offer": {
        const isAuthenticated = caller.peer.tls?.authorized === true
        return Effect.map(reception.takeOffer(message.said, isAuthenticated), (offer) =>
          said(Mooncake.replyTo(call, offer))
        )
      }
      case "Acknowledgement":
        return Effect.as(reception.takeAcknowledgement(message.said), taken)
      case "Farewell":
        return Effect.as(reception.takeFarewell(message.said), taken)
    }
  }

  /** Reason for a handshake to an unknown path: the path to use if only the server differs. */
  #unknownNic(receiver: NicPath.NicPath): RejectReason.RejectReason {
    for (const path of this.#receptions.keys()) {
      const local = NicPath.parse(path)
      if (Result.isSuccess(local) && local.success.nic === receiver.nic) {
        return RejectReason.make("PathsDiffer", `${path}, but got ${NicPath.print(receiver)}`)
      }
    }
    return RejectReason.make("ReceiverNicUnknown", receiver.nic)
  }

  /** The content of the request is ignored. */
  #metadata(caller: CallerPeer): Effect.Effect<Answer> {
    const { segment } = this.#options
    if (segment === undefined || !this.#admits(caller, "metadata")) {
      return Effect.succeed(closed)
    }
    return Effect.map(segment, (descriptor) => yes(SegmentDescriptor.encode(descriptor)))
  }

  #notify(text: string, caller: CallerPeer): Effect.Effect<Answer, TextFault> {
    const notify = Notify.decode(text)
    if (Result.isFailure(notify)) return Effect.fail(notify.failure)
    if (!this.#admits(caller, "notify")) return Effect.succeed(closed)
    // The protocol has no negative reply. A peer without a reply knows that its message was lost.
    const isTaken = this.#notifies.offer(notify.success)
    return Effect.succeed(isTaken ? yes(Notify.encode(Notify.taken)) : closed)
  }
}
