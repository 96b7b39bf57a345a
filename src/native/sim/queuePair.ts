/** A simulated queue pair: its state, its two halves and its work queues. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Gid } from "../../schema/Gid.ts"
import type { Status } from "../verbs/Completion.ts"
import type { Disconnect } from "../verbs/Connection.ts"
import {
  defaults,
  canReceive,
  rnrTimerMs,
  type Transition,
  timeoutMs,
  type ToInit,
  type ToReadyToReceive,
  type ToReadyToSend
} from "../verbs/QueuePairState.ts"
import type { Access } from "../verbs/Region.ts"
import type { SoftwareCompletionQueue } from "../verbs/software/completions.ts"
import type { ResolvedQueuePairOptions } from "../verbs/provider/domain.ts"
import { SoftwareQueuePair } from "../verbs/software/queuePair.ts"
import { copies } from "../verbs/software/workQueues.ts"
import {
  type AttachedConnection,
  validateAttributes,
  validateTransition
} from "../verbs/provider/transitions.ts"
import { type ModifyError, ModifyFailed } from "../verbs/VerbsError.ts"
import {
  type Answer,
  type Message,
  type Outcome,
  type Peer,
  type QueuePairLife
} from "./message.ts"
import { Channel } from "./network.ts"
import type { Nic, NicQueuePair } from "./nic.ts"
import { Requester, type RequesterHost } from "./requester.ts"
import { Responder, type ResponderHost } from "./responder.ts"

const titleOf = ({ host, name }: Nic): string => `${host}/${name}`

/** A queue pair on a simulated device. */
export class SimQueuePair
  extends SoftwareQueuePair
  implements NicQueuePair, RequesterHost, ResponderHost
{
  readonly nic: Nic
  access: ReadonlySet<Access> = new Set()
  peer: Peer | undefined = undefined
  /** The local GID at the transition to `rtr`; it stays when the port's GID changes. */
  source: Gid
  life: QueuePairLife
  #requester: Requester | undefined = undefined
  #responder: Responder | undefined = undefined
  readonly #answers = new Channel()
  /** Early messages, so that each is counted once. */
  readonly #early = new Set<number>()

  constructor(nic: Nic, wanted: ResolvedQueuePairOptions<SoftwareCompletionQueue>) {
    super(nic.newQueuePair(), wanted, copies)
    this.nic = nic
    this.source = nic.gid
    this.life = { began: nic.network.now }
    nic.queuePairs.set(this.number, this)
  }

  /** The name in traces. */
  get title(): string {
    return `${titleOf(this.nic)}#${this.number}`
  }

  get doubleEnds(): number {
    return this.sends.counters.doubleEnds + this.receives.counters.doubleEnds
  }

  protected sendPosted(): void {
    this.#requester!.kick()
  }

  protected receivePosted(): void {
    // Receives wait in their queue.
  }

  modify(step: Transition): Effect.Effect<void, ModifyError> {
    return this.move(step)
  }

  /** Makes a transition; `mover` is the connection that wants it, if it is not the program. */
  move(step: Transition, mover?: AttachedConnection): Effect.Effect<void, ModifyError> {
    return Effect.suspend(() => {
      const wrong =
        validateTransition(this, step.to, mover) ??
        validateAttributes(step, { gids: this.nic.gids, reads: this.reads })
      if (wrong !== undefined) return Effect.fail(wrong)
      const millis = this.nic.network.modifyDelayMs(this.nic)
      return millis === 0
        ? this.#take(step, mover)
        : Effect.delay(this.#take(step, mover), Duration.millis(millis))
    })
  }

  /** Handles a message from the network. */
  receive(message: Message): void {
    const outcome = this.#hear(message)
    if (outcome === undefined) return
    const answer: Answer = {
      source: this.source,
      sourceQueuePair: this.number,
      target: message.source,
      targetQueuePair: message.sourceQueuePair,
      sequence: message.sequence,
      outcome
    }
    this.nic.network.carry(this.nic, this.source, message.source, this.#answers, (target) =>
      target.queuePairs.get(answer.targetQueuePair)?.onAnswer(answer)
    )
  }

  onAnswer(answer: Answer): void {
    if (this.state === "rts" && this.peer?.queuePair === answer.sourceQueuePair) {
      this.#requester?.onAnswer(answer)
    }
  }

  /** Fails the oldest send, and with it the queue pair. */
  failSend(status: Status): void {
    this.nic.network.note(`${this.title}: a ${this.#oldest} ends with ${status}`)
    this.sends.end(status, 0)
    this.fail("failed")
  }

  /** Fails for a reason that no completion of a send reports. */
  failFatally(detail: string): void {
    this.fail("failed")
    this.nic.emit({ _tag: "QueuePairFatal", queuePair: this.number, detail })
  }

  get #oldest(): string {
    return this.sends.at(this.sends.counters.ended).opcode
  }

  protected override halt(state: "err" | "reset", why: Disconnect): void {
    if (this.state !== "err") this.nic.network.note(`${this.title}: ${why} in ${this.state}`)
    this.#requester?.stop()
    this.#requester = undefined
    this.#responder = undefined
    super.halt(state, why)
  }

  protected override released(): void {
    super.released()
    this.nic.network.counters.doubleCompletions += this.doubleEnds
    this.nic.queuePairs.delete(this.number)
  }

  #hear(message: Message): Outcome | undefined {
    const { counters } = this.nic.network
    if (!canReceive(this.state)) {
      this.#countUnheard(message)
      return undefined
    }
    const { peer } = this
    if (peer?.queuePair === message.sourceQueuePair && peer.gid === message.source) {
      return this.#responder!.receive(message)
    }
    counters.strays += 1
    return undefined
  }

  /** Counts a message that comes before this queue pair is ready, or after its end. */
  #countUnheard({ addressee, again, sequence, source, sourceQueuePair }: Message): void {
    const { network } = this.nic
    if (this.state === "err" || addressee !== this.life) {
      if (!again) network.counters.latePosts += 1
      return
    }
    const key = sourceQueuePair * 0x100_0000 + sequence
    if (this.#early.has(key)) return
    this.#early.add(key)
    network.counters.earlyPosts += 1
    const from = network.find(source)
    network.lastEarlyPost = {
      from: from === undefined ? "" : titleOf(from),
      to: titleOf(this.nic),
      state: this.state === "init" ? "init" : "reset"
    }
    network.note(`${this.title}: message in ${this.state}, too early`)
  }

  /** Makes the transition, unless the queue pair has changed in the meantime. */
  #take(step: Transition, mover: AttachedConnection | undefined): Effect.Effect<void, ModifyError> {
    return Effect.suspend(() => {
      const wrong = validateTransition(this, step.to, mover)
      if (wrong !== undefined) return Effect.fail(wrong)
      const detail = this.#refusal(step)
      if (detail !== undefined) {
        this.fail("failed")
        return Effect.fail(new ModifyFailed({ queuePair: this.number, to: step.to, detail }))
      }
      switch (step.to) {
        case "init":
          this.#toInit(step)
          break
        case "rtr":
          this.#toReceive(step)
          break
        case "rts":
          this.#toSend(step)
          break
        case "err":
          this.fail("disconnected")
          break
        case "reset":
          this.halt("reset", "disconnected")
          this.life = { began: this.nic.network.now }
      }
      return Effect.void
    })
  }

  /** Why the device refuses, if it does. */
  #refusal(step: Transition): string | undefined {
    const { nic } = this
    if (nic.failingSteps.delete(step.to)) return "the device refused the step"
    if (step.to !== "rtr") return undefined
    const { gidIndex = defaults.gidIndex } = step.path
    return nic.network.refusesGid(nic, gidIndex)
      ? `the device refused its GID ${gidIndex}`
      : undefined
  }

  #toInit({ access = [] }: ToInit): void {
    this.access = new Set(access)
    this.state = "init"
  }

  #toReceive(step: ToReadyToReceive): void {
    const { gid } = step.path
    const life = this.nic.network.find(gid)?.queuePairs.get(step.peer)?.life
    this.peer = { gid, queuePair: step.peer, mtu: step.mtu, life }
    this.source = this.nic.addresses[step.path.gidIndex ?? defaults.gidIndex]!
    this.#responder = new Responder(this, {
      peerSequence: step.peerSequence ?? defaults.peerSequence,
      inboundReads: step.inboundReads ?? defaults.inboundReads,
      waitMillis: rnrTimerMs(step.minRnrTimer ?? defaults.minRnrTimer)
    })
    this.#early.clear()
    this.state = "rtr"
  }

  #toSend(step: ToReadyToSend): void {
    if (this.state === "rts") return
    this.#requester = new Requester(this, {
      firstSequence: step.firstSequence ?? defaults.firstSequence,
      timeoutMillis: timeoutMs(step.timeout ?? defaults.timeout),
      retries: step.retries ?? defaults.retries,
      rnrRetries: step.rnrRetries ?? defaults.rnrRetries,
      outboundReads: step.outboundReads ?? defaults.outboundReads
    })
    this.state = "rts"
    this.nic.network.note(`${this.title}: ready`)
  }
}
