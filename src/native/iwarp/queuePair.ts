/** A queue pair whose connection is a TCP stream, on the main thread. */
import * as Effect from "effect/Effect"
import type { Status } from "../verbs/Completion.ts"
import type { Disconnect } from "../verbs/Connection.ts"
import type { GidEntry } from "../verbs/Device.ts"
import { defaults, type Transition, type ToReadyToReceive } from "../verbs/QueuePairState.ts"
import type { SoftwareCompletionQueue } from "../verbs/software/completions.ts"
import type { ResolvedQueuePairOptions } from "../verbs/provider/domain.ts"
import { SoftwareQueuePair } from "../verbs/software/queuePair.ts"
import { validateAttributes, validateTransition } from "../verbs/provider/transitions.ts"
import { copies, isFetch } from "../verbs/software/workQueues.ts"
import type { ModifyError } from "../verbs/VerbsError.ts"
import type { ReceiveRequest, SendRequest } from "../verbs/WorkRequest.ts"
import type { SessionHandle, SessionOwner } from "./sessionHandle.ts"
import { fetchesMax, type QueueMemory, type RowOf } from "./queueMemory.ts"
import { type Regions, rightsOf, rowFinder } from "./regions.ts"
import { streamsHere } from "./stream.ts"
import { type Binding, type Failure, recordBytes, Tag } from "./sessionProtocol.ts"

/** The device of a queue pair. */
export interface QueuePairHost {
  readonly regions: Regions
  /** Connects to the peer that the transition to `rtr` named. */
  readonly connectTo: (queuePair: IwarpQueuePair) => void
  /** Called when work is posted without a connection to the peer. */
  readonly startPeerTimeout: (queuePair: IwarpQueuePair) => void
  readonly onFatal: (queuePair: IwarpQueuePair, detail: string) => void
  readonly gids: () => ReadonlyArray<GidEntry>
  /** Calls `act` once no session is in a step that it began before. */
  readonly afterBarrier: (act: () => void) => void
}

/** The parts of a queue pair. */
export interface IwarpQueuePairOptions extends ResolvedQueuePairOptions<SoftwareCompletionQueue> {
  readonly host: QueuePairHost
  readonly number: number
  readonly memory: QueueMemory
  /** The number of that memory in the I/O pool. */
  readonly buffer: number
  readonly released: () => void
}

const atomicBytes = 8

/** A queue pair. */
export class IwarpQueuePair extends SoftwareQueuePair implements SessionOwner {
  /** The transition to `rtr` of a queue pair that is connected out of band. */
  path: ToReadyToReceive | undefined = undefined
  readonly #host: QueuePairHost
  readonly #memory: QueueMemory
  readonly #buffer: number
  readonly #sources: RowOf
  readonly #sinks: RowOf
  readonly #completions: Pick<IwarpQueuePairOptions, "sends" | "receives">
  readonly #released: () => void
  #rights = 0
  #session: SessionHandle | undefined = undefined
  /** True while a session uses posted work, which therefore cannot be ended yet. */
  #isHalting = false

  constructor(make: IwarpQueuePairOptions) {
    super(make.number, make, copies)
    this.#host = make.host
    this.#memory = make.memory
    this.#buffer = make.buffer
    this.#sources = rowFinder(make.domain, false)
    this.#sinks = rowFinder(make.domain, true)
    this.#completions = make
    this.#released = make.released
  }

  /** Whether there is a settled connection. */
  get hasPeer(): boolean {
    return this.#session?.negotiated !== undefined
  }

  /** Whether there is a connection, or an attempt at one. */
  get hasSession(): boolean {
    return this.#session !== undefined
  }

  protected sendPosted(index: number, request: SendRequest): void {
    const rowOf = isFetch(request.opcode) ? this.#sinks : this.#sources
    this.#memory.postSend(index, request, this.sends.at(index).bytes, rowOf)
    if (!request.more) this.#kick()
  }

  protected receivePosted(index: number, request: ReceiveRequest): void {
    this.#memory.postReceive(index, request, this.#sinks)
  }

  modify(step: Transition): Effect.Effect<void, ModifyError> {
    return Effect.suspend(() => {
      const wrong =
        validateTransition(this, step.to) ??
        validateAttributes(step, { gids: this.#host.gids(), reads: this.reads })
      return wrong === undefined ? Effect.sync(() => this.#take(step)) : Effect.fail(wrong)
    })
  }

  /** Begins an epoch, and returns the queues that its session serves. */
  bind(): Binding {
    return {
      queues: this.#buffer,
      epoch: this.#memory.begin(),
      domain: this.domain,
      rights: this.#rights,
      sendAt: this.sends.counters.ended,
      receiveAt: this.receives.counters.ended
    }
  }

  /** Attaches a connection whose peer may send as soon as it is settled. */
  attach(link: SessionHandle): void {
    this.#session = link
    link.owner = this
    if (this.state === "init") this.state = "rtr"
  }

  /** Detaches a connection that failed to settle, so that another one may be tried. */
  detach(link: SessionHandle): void {
    if (this.#session !== link) return
    this.#session = undefined
    link.disconnect("at once")
    if (!this.#memory.stop()) this.fail("failed")
  }

  /** Gives up a connection that has not settled. */
  detachUnsettled(): void {
    if (this.#session !== undefined && !this.hasPeer) this.detach(this.#session)
  }

  /** Marks the connection as complete. */
  opened(): void {
    if (this.connection !== undefined && this.state === "rtr") this.state = "rts"
  }

  records(bytes: Uint8Array, from: number, to: number): void {
    const { receives, sends } = this.#completions
    sends.begin()
    receives.begin()
    this.#endBy(bytes, from, to)
    receives.end()
    sends.end()
  }

  #endBy(bytes: Uint8Array, from: number, to: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (let at = from; at < to; at += recordBytes) {
      const tag = view.getUint32(at, true)
      const length = view.getUint32(at + 4, true)
      if (tag === Tag.sends) this.#endSends(length)
      else {
        const invalidated = view.getUint32(at + 12, true)
        const isImmediate = tag === Tag.receiveImmediate
        const kind = isImmediate ? "receive-immediate" : "receive"
        const completion = this.receives.end(kind, "success")
        if (completion === undefined) continue
        completion.length = length
        completion.immediate = view.getUint32(at + 8, true)
        completion.invalidated = invalidated
        if (invalidated !== 0) this.#host.regions.invalidated(invalidated)
      }
    }
  }

  failed({ detail, receive, send }: Failure): void {
    if (send !== undefined && this.outstandingSends > 0) this.sends.end(send, 0)
    else if (receive !== undefined && this.outstandingReceives > 0) {
      this.receives.end("receive", receive)
    } else this.#host.onFatal(this, detail)
    this.fail("failed")
  }

  ended(error: Parameters<SessionOwner["ended"]>[0]): void {
    const { reason } = error
    const isClose = reason._tag === "PeerClosed"
    // The thread of a stuck worker may still run, and write.
    if (reason._tag === "WorkerCrashed" && !reason.isStuck) this.#memory.ignoreDeadUsers()
    if (!isClose) this.#host.onFatal(this, error.message)
    this.fail(isClose ? "peer-disconnected" : "failed")
  }

  /** Ends posted work once no session uses its memory: mostly at once. */
  protected override halt(state: "err" | "reset", why: Disconnect, status?: Status): void {
    if (this.#isHalting) return
    this.#isHalting = true
    const isStopped = this.#memory.stop()
    const link = this.#session
    this.#session = undefined
    this.path = undefined
    const end = (): void => {
      this.#isHalting = false
      super.halt(state, why, status)
      link?.disconnect("in order")
    }
    if (isStopped) return end()
    this.#host.afterBarrier(() => {
      this.#memory.ignoreDeadUsers()
      end()
    })
  }

  #take(step: Transition): void {
    switch (step.to) {
      case "init":
        this.#rights = rightsOf(step.access ?? [])
        this.#memory.isFetch = fetchesMax
        this.state = "init"
        return
      case "rtr":
        this.path = step
        this.state = "rtr"
        this.#host.connectTo(this)
        return
      case "rts":
        this.#memory.isFetch = step.outboundReads ?? defaults.outboundReads
        this.state = "rts"
        return
      case "err":
        return this.fail("disconnected")
      case "reset":
        return this.halt("reset", "disconnected")
    }
  }

  #kick(): void {
    if (!this.hasPeer) this.#host.startPeerTimeout(this)
    if (this.#session === undefined || !this.#memory.kick()) return
    const here = streamsHere.get(this.#memory.memory)
    if (here === undefined) this.#session.kick()
    else here.posted()
  }

  #endSends(count: number): void {
    const sends = this.sends
    for (let left = count; left > 0 && sends.counters.outstanding > 0; left--) {
      const { bytes, opcode } = sends.at(sends.counters.ended)
      const length = opcode === "read" ? bytes : isFetch(opcode) ? atomicBytes : 0
      sends.end("success", length)
    }
  }

  protected override released(): void {
    super.released()
    this.#released()
  }
}
