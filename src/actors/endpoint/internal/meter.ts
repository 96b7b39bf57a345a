/** Keeps the metrics of the endpoints of one NIC, by their epochs. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Epoch } from "../../../schema/Epoch.ts"
import * as Metrics from "../EndpointMetrics.ts"
import type { EndReason } from "../EndpointEvent.ts"
import type { State } from "../EndpointState.ts"

type Tag = Exclude<State["_tag"], "Idle">

interface Life {
  tag: Tag
  readonly beganAt: number
  upAt: number
}

/** With attributes of its own, the gauge keeps its key: `withAttributes` makes it each time. */
const inState = (state: Tag) => {
  const { description, id } = Metrics.endpoints
  return Metric.gauge(id, { description, attributes: { state } })
}

const gauges: Readonly<Record<Tag, ReturnType<typeof inState>>> = {
  CreatingQueuePairs: inState("CreatingQueuePairs"),
  Offering: inState("Offering"),
  Connecting: inState("Connecting"),
  AwaitingReadyAck: inState("AwaitingReadyAck"),
  Ready: inState("Ready")
}

export class Meter {
  readonly #context: Context.Context<never>
  readonly #now: () => number
  readonly #lives = new Map<Epoch, Life>()

  /** `now` gives milliseconds. */
  constructor(context: Context.Context<never>, now: () => number) {
    this.#context = context
    this.#now = now
  }

  begin(epoch: Epoch): void {
    const now = this.#now()
    this.#lives.set(epoch, { tag: "CreatingQueuePairs", beganAt: now, upAt: now })
    gauges.CreatingQueuePairs.modifyUnsafe(1, this.#context)
    Metrics.generations.updateUnsafe(1, this.#context)
  }

  /** Counts an endpoint in its present state. */
  note(state: State): void {
    const life = state._tag === "Idle" ? undefined : this.#lives.get(state.epoch)
    if (life === undefined || state._tag === "Idle" || life.tag === state._tag) return
    gauges[life.tag].modifyUnsafe(-1, this.#context)
    gauges[state._tag].modifyUnsafe(1, this.#context)
    const now = this.#now()
    if (life.tag !== "AwaitingReadyAck") life.upAt = now
    life.tag = state._tag
    if (state._tag !== "Ready") return
    Metrics.opening.updateUnsafe((now - life.beganAt) / 1_000, this.#context)
    Metrics.gateWait.updateUnsafe((now - life.upAt) / 1_000, this.#context)
  }

  /** Counts the end of an epoch, when all its resources are released. */
  end(epoch: Epoch): void {
    const life = this.#lives.get(epoch)
    this.#lives.delete(epoch)
    if (life !== undefined) gauges[life.tag].modifyUnsafe(-1, this.#context)
  }

  ended(reason: EndReason): void {
    Metric.withAttributes(Metrics.ended, { reason }).updateUnsafe(1, this.#context)
  }

  /** Adds to the number of endpoints that are being drained. */
  retiring(more: number): void {
    Metrics.retiring.modifyUnsafe(more, this.#context)
  }
}
