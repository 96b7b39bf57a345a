/**
 * A queue pair of a device. What is posted is counted in memory and handed to the device.
 *
 * In `err` nothing is handed over any more: some drivers never flush what comes then. The device
 * flushes what it has, and what came later ends when that is over.
 */
import * as Effect from "effect/Effect"
import type { Disconnect } from "../verbs/Connection.ts"
import { defaults, type State, type Transition } from "../verbs/QueuePairState.ts"
import type { ResolvedQueuePairOptions } from "../verbs/provider/domain.ts"
import {
  type AttachedConnection,
  validateAttributes,
  validateTransition
} from "../verbs/provider/transitions.ts"
import { SoftwareQueuePair } from "../verbs/software/queuePair.ts"
import { IllegalTransition, type ModifyError, ModifyFailed } from "../verbs/VerbsError.ts"
import { type Attributes, attributesOf, stateOnly } from "./attributes.ts"
import {
  describeReceived,
  type IbCompletionQueue,
  receiveKindAt,
  receiveStatusAt,
  sendStatusAt
} from "./completions.ts"
import { describe } from "./failures.ts"
import { Marker, pause } from "./flush.ts"
import type { NativeFailure, Pointer } from "./library.ts"
import type { CompletionTarget, DeviceQueuePair, OpenDevice } from "./openDevice.ts"
import { type IbReceivePlace, type IbSendPlace, WorkMemory } from "./workMemory.ts"

/** A queue pair that the device has created. */
export interface NativeQueuePair {
  readonly pointer: Pointer
  readonly number: number
}

export class IbQueuePair
  extends SoftwareQueuePair<IbSendPlace, IbReceivePlace>
  implements DeviceQueuePair
{
  readonly settled: Effect.Effect<void>
  readonly pointer: Pointer
  readonly device: OpenDevice
  onFirstMessage: (() => void) | undefined = undefined
  readonly #memory: WorkMemory
  readonly #marker: Marker
  readonly #queues: ReadonlyArray<IbCompletionQueue>
  readonly #targets: Readonly<Record<"sends" | "receives" | "marker", CompletionTarget>>
  /** Serial numbers of the targets, which are new after a reset: older completions are dropped. */
  #serials: Readonly<Record<"sends" | "receives" | "marker", number>>
  /** Work that the device has, as numbers of the first that it has not. */
  #handedSends = 0
  #handedReceives = 0
  /** Whether the device's queue pair has left `reset`, and whether it has sent. */
  #isUp = false
  #canSend = false
  /** False from a failure until the flush is over, which `#flushed` waits for. */
  #isSettled = true
  #flushed: Promise<void> = Promise.resolve()
  /** Whether its destruction has begun: the device's queue pair is not used any more. */
  #isEnding = false
  #port = 1

  constructor(
    device: OpenDevice,
    wanted: ResolvedQueuePairOptions<IbCompletionQueue>,
    { number, pointer }: NativeQueuePair
  ) {
    const { scatterEntries } = wanted.limits
    const memory = new WorkMemory(device.libraries, { ...wanted, scatterEntries })
    super(number, wanted, memory)
    this.pointer = pointer
    this.device = device
    this.settled = device.control.idle
    this.#memory = memory
    this.#marker = new Marker(wanted.sends, memory.marker, () => this.#endSilentSends())
    this.#queues = [wanted.sends, wanted.receives]
    this.#targets = {
      sends: { completed: (index, view, at) => this.#sendEnded(index, view, at) },
      receives: { completed: (index, view, at) => this.#receiveEnded(index, view, at) },
      marker: this.#marker
    }
    this.#serials = device.addTargets(this.#targets)
    device.queuePairs.set(pointer, this)
  }

  modify(step: Transition): Effect.Effect<void, ModifyError> {
    return Effect.suspend(() => {
      const { device } = this
      const port = step.to === "init" ? (step.port ?? defaults.port) : this.#port
      const wrong =
        validateTransition(this, step.to) ??
        validateAttributes(step, {
          ports: device.info.ports,
          gids: device.gids(port),
          reads: this.reads
        })
      if (wrong !== undefined) return Effect.fail(wrong)
      switch (step.to) {
        case "err":
          this.fail("disconnected")
          return Effect.promise(() => this.#flushed)
        case "reset":
          this.fail("disconnected")
          return Effect.andThen(
            Effect.promise(() => this.#flushed),
            this.#reset
          )
        default:
          if (step.to === "rts" && this.state === "rts") return Effect.void
          return this.move(step.to, undefined, () => {
            this.#port = port
            return attributesOf(device.libraries, step, port)
          })
      }
    })
  }

  /** Takes a step with attributes that are made when its turn has come. */
  move(
    to: "init" | "rtr" | "rts",
    mover: AttachedConnection | undefined,
    attributes: () => Attributes | Promise<Attributes>
  ): Effect.Effect<void, ModifyError> {
    return this.#run(to, async () => {
      const wrong = validateTransition(this, to, mover)
      if (wrong !== undefined) return wrong
      const from = this.state
      try {
        await this.#modify(await attributes())
      } catch (error) {
        this.fail("failed")
        throw error
      }
      this.#isUp = true
      if (to === "rts") this.#canSend = true
      // It may have failed while the device was busy; its way to `err` comes behind this job.
      const { number: queuePair, state } = this
      if (state !== from) {
        const gone = this.resource.releasedError(`queue pair ${queuePair}`)
        return gone ?? new IllegalTransition({ queuePair, from: state, to })
      }
      this.state = to
      return undefined
    })
  }

  /** The device has said that it has failed. */
  failFatally(detail: string): void {
    if (this.state === "err") return
    this.fail("failed")
    this.device.emit({ _tag: "QueuePairFatal", queuePair: this.number, detail })
  }

  onQueueFailed(pointer: Pointer): void {
    if (this.#queues.some((queue) => queue.pointer === pointer)) {
      this.failFatally("its completion queue failed")
    }
  }

  protected override sendPosted(index: number): void {
    const place = this.sends.at(index)
    place.setName(this.#serials.sends, index)
    if (this.#post(place)) this.#handedSends = index + 1
    else this.#refused("a send")
  }

  protected override receivePosted(index: number): void {
    const { device, pointer } = this
    const place = this.receives.at(index)
    place.setName(this.#serials.receives, index)
    const { refused } = this.#memory
    if (device.operations.postReceive(pointer, place.address, refused) === 0) {
      this.#handedReceives = index + 1
    } else this.#refused("a receive")
  }

  protected override halt(_: State, why: Disconnect): void {
    this.state = "err"
    this.#isSettled = false
    const { connection } = this
    this.connection = undefined
    connection?.onLeft(why)
    // The device's other work goes on while one queue pair is flushed, or is not.
    this.#flushed = this.device.control
      .add(() => this.#toError())
      .then((flushes) => this.#settle(flushes))
  }

  /** Ends what the device does not have, once it has ended all that it has. */
  protected override flush(): void {
    if (this.#isSettled) super.flush()
  }

  protected override released(): void {
    this.fail("disconnected")
    const { control, libraries, queuePairs } = this.device
    control.addRelease(async () => {
      this.#isEnding = true
      this.#pump()
      // What is not flushed by now never is. Only then is its memory out of the device's reach.
      await libraries.later("ibv_destroy_qp", this.pointer).catch(() => 0)
      this.#pump()
      this.#endFlush()
      this.sends.retire()
      this.receives.retire()
      this.#deleteTargets()
      queuePairs.delete(this.pointer)
    })
  }

  get #reset(): Effect.Effect<void, ModifyError> {
    return this.#run("reset", async () => {
      const { device, number: queuePair, state: from } = this
      const gone = validateTransition(this, "reset")
      if (gone !== undefined || from === "reset") return gone
      // Another caller has moved it meanwhile.
      if (from !== "err" || !this.#isSettled) {
        return new IllegalTransition({ queuePair, from, to: "reset" })
      }
      if (this.#isUp) await this.#modify(stateOnly(device.libraries, "reset"))
      this.#isUp = false
      this.#canSend = false
      this.#deleteTargets()
      this.#serials = device.addTargets(this.#targets)
      this.#handedSends = this.sends.counters.posted
      this.#handedReceives = this.receives.counters.posted
      this.state = "reset"
      return undefined
    })
  }

  /** Runs a job that may refuse or fail. */
  #run(to: State, job: () => Promise<ModifyError | undefined>): Effect.Effect<void, ModifyError> {
    const { device, number: queuePair } = this
    return device.control.run(job).pipe(
      Effect.mapError(
        (failure: NativeFailure) => new ModifyFailed({ queuePair, to, detail: describe(failure) })
      ),
      Effect.flatMap((wrong) => (wrong === undefined ? Effect.void : Effect.fail(wrong)))
    )
  }

  #modify({ block, mask }: Attributes): Promise<number> {
    return this.device.libraries.later("ibv_modify_qp", this.pointer, block, mask)
  }

  #post(place: IbSendPlace): boolean {
    const { device, pointer } = this
    return device.operations.postSend(pointer, place.address, this.#memory.refused) === 0
  }

  /** The device took no work although there is room: it, or its queue pair, is broken. */
  #refused(what: string): void {
    this.failFatally(`the device refused ${what}`)
  }

  #sendEnded(index: number, view: DataView, at: number): void {
    const { sends } = this
    let silent = (index - sends.counters.ended) >>> 0
    if (silent >= sends.counters.outstanding) return
    while (silent-- > 0) sends.end("success", 0)
    const { fetched, isUsable } = sends.at(sends.counters.ended)
    const status = sendStatusAt(view, at, isUsable)
    sends.end(status, status === "success" ? fetched : 0)
    if (status !== "success") this.fail("failed")
  }

  #receiveEnded(index: number, view: DataView, at: number): void {
    const { receives } = this
    if ((index - receives.counters.ended) >>> 0 >= receives.counters.outstanding) return
    const { isUsable } = receives.at(receives.counters.ended)
    const status = receiveStatusAt(view, at, isUsable)
    const ended = receives.end(receiveKindAt(view, at), status)!
    if (status === "success") describeReceived(ended, view, at)
    else this.fail("failed")
  }

  /** The marker is behind all sends: what made no completion has ended well. */
  #endSilentSends(): void {
    while (this.sends.counters.ended < this.#handedSends) this.sends.end("success", 0)
  }

  get #isFlushed(): boolean {
    const { receives, sends } = this
    return (
      sends.counters.ended >= this.#handedSends && receives.counters.ended >= this.#handedReceives
    )
  }

  /** Takes the device's queue pair to `err`. Returns whether a flush of its work is to come. */
  async #toError(): Promise<boolean> {
    const { device } = this
    if (!this.#isUp) return false
    try {
      await this.#modify(stateOnly(device.libraries, "err"))
      return true
    } catch {
      // A device that is gone flushes nothing.
      return false
    }
  }

  /** Waits until the device has flushed its work, and ends what it has not flushed in time. */
  async #settle(flushes: boolean): Promise<void> {
    const { device } = this
    const giveUpAt = flushes ? performance.now() + device.settings.flushWithinMs : 0
    let needsMarker = this.#canSend
    for (let look = 0; !this.#isEnding; look++) {
      this.#pump()
      const isOver = this.#isFlushed || device.isRemoved || performance.now() >= giveUpAt
      if (isOver) return this.#endFlush()
      if (needsMarker && this.sends.counters.ended < this.#handedSends) {
        needsMarker = !this.#marker.post(this.#serials.marker, (place) => this.#post(place))
      }
      await pause(look)
    }
  }

  #pump(): void {
    for (const queue of this.#queues) queue.pump()
  }

  #endFlush(): void {
    this.#isSettled = true
    super.flush()
  }

  /** What the device says of posts until now is not heard any more. */
  #deleteTargets(): void {
    this.#marker.forget()
    this.device.deleteTargets(this.#serials)
  }
}
