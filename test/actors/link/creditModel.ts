/**
 * Every state that one connection of a requester and a strict responder can reach.
 *
 * The requester counts by the real `Credits`; a variant changes one rule of it, as a release of
 * Linux did. The responder posts what its `Obligation` demands and no more, answers in any order
 * and grants what it likes. There is no time: each possible next step is taken in some run. Harm
 * is a Send that finds no Receive on either side, a second call before the first grant, and a
 * state in which something waits and nothing can happen any more.
 */
import { Credits, Obligation, type Terms } from "../../../src/actors/link/Credits.ts"

type Step = "grant" | "post" | "release"

/** What a requester does; by default what the rules say. */
export interface Variant {
  /** Receives posted before any call. Default: 1 and those for the reverse direction. */
  readonly postedFirst?: number
  /** Receives posted at any time later. */
  readonly postedLate?: number
  /** The grant that the connection begins with. */
  readonly grantedFirst?: number
  /** How a reply is handled once its Receive is counted, one step at a time. Default: at once. */
  readonly order?: ReadonlyArray<Step>
  /** Receives posted beyond what is missing. */
  readonly batch?: number
  /** Calls that are sent again without a look at the window. */
  readonly bypass?: number
  /** The window does not look at the Receives. */
  readonly ignoresPosted?: boolean
  /** Posting may fail once; what is missing is posted later, or never. */
  readonly refillFails?: "retried" | "forgotten"
  /** An interrupted call gives its credit back at once. */
  readonly freesInterrupted?: boolean
}

export interface World {
  readonly terms: Terms
  readonly calls: number
  /** What each reply may grant. */
  readonly grants: ReadonlyArray<number>
  readonly interrupts?: number
  /** Receives that the responder posts before the connection. Default: 1, as few as it may. */
  readonly responderPosts?: number
  readonly variant?: Variant
}

/** A message that has arrived: a reply to a call, to an interrupted one, or a reverse call. */
type Arrived = readonly [kind: "reply" | "late" | "reverse", grant: number]

interface State {
  readonly waiting: number
  readonly bypassing: number
  readonly granted: number
  readonly posted: number
  readonly held: number
  /** Receives that the NIC holds. */
  readonly receives: number
  readonly late: number
  /** Calls at the responder, and those of them that were interrupted. */
  readonly out: number
  readonly interrupted: number
  readonly arrived: ReadonlyArray<Arrived>
  /** The message that is being handled, and the next step of its handling. */
  readonly handling: Arrived | undefined
  readonly step: number
  readonly isGranted: boolean
  readonly interrupts: number
  /** Calls of the responder that have not been answered, and those of them that were taken. */
  readonly reverse: number
  readonly unanswered: number
  readonly failures: number
  /** A refill that failed and will be tried again. */
  readonly owes: boolean
  /** Calls that came to the responder. */
  readonly came: number
  readonly obligation: Pick<Obligation, "posted" | "replies" | "promised">
}

export type Harm = "client RNR" | "server RNR" | "flood" | "stuck"

export interface Explored {
  readonly states: number
  /** The steps that lead to each kind of harm, by one of the shortest ways. */
  readonly harms: ReadonlyMap<Harm, ReadonlyArray<string>>
}

class Explorer {
  readonly harms = new Map<Harm, ReadonlyArray<string>>()
  readonly #world: World
  readonly #variant: Variant
  #queue: Array<State> = []
  readonly #from = new Map<string, readonly [previous: string, label: string]>()
  #key = ""

  constructor(world: World) {
    this.#world = world
    this.#variant = world.variant ?? {}
  }

  explore(): Explored {
    const { calls, interrupts = 0, responderPosts = 1, terms } = this.#world
    const { bypass = 0, grantedFirst = 1, postedFirst = 1 + terms.reverse } = this.#variant
    const first: State = {
      waiting: calls,
      bypassing: bypass,
      granted: grantedFirst,
      posted: postedFirst,
      held: 0,
      receives: postedFirst,
      late: this.#variant.postedLate ?? 0,
      out: 0,
      interrupted: 0,
      arrived: [],
      handling: undefined,
      step: 0,
      isGranted: false,
      interrupts,
      reverse: 0,
      unanswered: 0,
      failures: this.#variant.refillFails === undefined ? 0 : 1,
      owes: false,
      came: 0,
      obligation: { posted: responderPosts, replies: 0, promised: 1 }
    }
    this.#from.set(JSON.stringify(first), ["", ""])
    this.#queue.push(first)
    for (let at = 0; at < this.#queue.length; at++) this.#expand(this.#queue[at]!)
    return { states: this.#from.size, harms: this.harms }
  }

  #credits({ granted, held, posted, unanswered }: State): Credits {
    return Object.assign(new Credits(this.#world.terms), { granted, held, posted, unanswered })
  }

  #expand(state: State): void {
    this.#key = JSON.stringify(state)
    const before = this.#next
    this.#next = 0
    if (state.late > 0) {
      const { late, posted, receives } = state
      this.#go("post late", state, { late: 0, posted: posted + late, receives: receives + late })
    }
    this.#send(state)
    for (const grant of this.#world.grants) this.#reply(state, grant)
    this.#callBack(state)
    if (this.#credits(state).mayAnswer) {
      const { reverse, unanswered } = state
      this.#go("answer", state, { reverse: reverse - 1, unanswered: unanswered - 1 })
    }
    this.#interrupt(state)
    this.#handle(state)
    if (state.owes) this.#post("post again", { ...state, owes: false }, state.granted)
    const isOver = state.waiting + state.out + state.reverse === 0
    if (this.#next === 0 && !isOver) this.#harm("stuck", "")
    this.#next = before
  }

  /** Steps that led out of the state that is looked at. */
  #next = 0

  #go(label: string, state: State, change: Partial<State>): void {
    this.#next++
    const next = { ...state, ...change }
    const key = JSON.stringify(next)
    if (this.#from.has(key)) return
    this.#from.set(key, [this.#key, label])
    this.#queue.push(next)
  }

  #harm(harm: Harm, label: string): void {
    this.#next++
    if (this.harms.has(harm)) return
    const steps = label === "" ? [] : [label]
    let [key, last] = this.#from.get(this.#key)!
    while (last !== "") {
      steps.unshift(last)
      ;[key, last] = this.#from.get(key)!
    }
    this.harms.set(harm, steps)
  }

  #mayCall(state: State): boolean {
    const credits = this.#credits(state)
    if (!this.#variant.ignoresPosted) return credits.free("control") > 0
    return state.held < Math.min(state.granted, this.#world.terms.requested)
  }

  #send(state: State): void {
    if (state.waiting === 0) return
    const bypasses = state.bypassing > 0
    if (!bypasses && !this.#mayCall(state)) return
    const label = bypasses ? "send again" : "send"
    const isOut = state.out > 0 || state.arrived.some(([kind]) => kind !== "reverse")
    if (!state.isGranted && isOut) this.#harm("flood", label)
    if (state.came >= state.obligation.posted) return this.#harm("server RNR", label)
    this.#go(label, state, {
      waiting: state.waiting - 1,
      bypassing: Math.max(0, state.bypassing - 1),
      held: state.held + 1,
      out: state.out + 1,
      came: state.came + 1
    })
  }

  #reply(state: State, grant: number): void {
    if (state.out === 0) return
    const label = `reply ${grant}`
    if (state.receives === 0) return this.#harm("client RNR", label)
    const obligation = Object.assign(new Obligation(), state.obligation)
    obligation.add(obligation.missing(grant))
    obligation.reply(grant)
    const { posted, promised, replies } = obligation
    const change = {
      out: state.out - 1,
      receives: state.receives - 1,
      obligation: { posted, promised, replies }
    }
    const arrive = (kind: Arrived[0]) => [...state.arrived, [kind, grant] as const]
    if (state.out > state.interrupted) {
      this.#go(label, state, { ...change, arrived: arrive("reply") })
    }
    if (state.interrupted > 0) {
      const interrupted = state.interrupted - 1
      this.#go(`late ${label}`, state, { ...change, interrupted, arrived: arrive("late") })
    }
  }

  /** The responder calls in the reverse direction. */
  #callBack(state: State): void {
    if (state.reverse >= this.#world.terms.reverse || state.came === 0) return
    if (state.receives === 0) return this.#harm("client RNR", "reverse call")
    this.#go("reverse call", state, {
      reverse: state.reverse + 1,
      receives: state.receives - 1,
      arrived: [...state.arrived, ["reverse", 0]]
    })
  }

  #interrupt(state: State): void {
    if (state.interrupts === 0 || state.out === state.interrupted) return
    this.#go("interrupt", state, {
      interrupts: state.interrupts - 1,
      interrupted: state.interrupted + 1,
      held: state.held - (this.#variant.freesInterrupted ? 1 : 0)
    })
  }

  #handle(state: State): void {
    if (state.handling !== undefined) return this.#handleOn(state, state.handling)
    const [message, ...arrived] = state.arrived
    if (message === undefined) return
    const [kind, grant] = message
    const isReply = kind !== "reverse"
    if (this.#variant.order !== undefined && isReply) {
      const posted = state.posted - 1
      return this.#go("count", state, { arrived, posted, handling: message, step: 0 })
    }
    const credits = this.#credits(state)
    const releases = kind === "reply" || !this.#variant.freesInterrupted
    if (isReply) credits.receive(grant, releases)
    else credits.receiveCall()
    const { granted, held, posted, unanswered } = credits
    const isGranted = state.isGranted || isReply
    const counted = { granted, held, posted, unanswered }
    this.#go(`take ${kind}`, state, { ...counted, arrived, isGranted, handling: message, step: 0 })
  }

  #handleOn(state: State, [kind, grant]: Arrived): void {
    const order: ReadonlyArray<Step> =
      kind === "reverse" ? ["post"] : (this.#variant.order ?? ["post"])
    const step = order[state.step]!
    const isLast = state.step === order.length - 1
    const rest = isLast ? { handling: undefined, step: 0 } : { step: state.step + 1 }
    switch (step) {
      case "grant": {
        const granted = Math.min(Math.max(grant, 1), this.#world.terms.requested)
        return this.#go("grant", state, { ...rest, granted, isGranted: true })
      }
      case "release": {
        const releases = kind === "reply" || !this.#variant.freesInterrupted
        return this.#go("release", state, { ...rest, held: state.held - (releases ? 1 : 0) })
      }
      case "post":
        if (state.failures > 0) {
          const owes = this.#variant.refillFails === "retried"
          this.#go("post none", state, { ...rest, failures: state.failures - 1, owes })
        }
        return this.#post("post", { ...state, ...rest }, kind === "reverse" ? state.granted : grant)
    }
  }

  /** Posts what a window of `grant` misses. */
  #post(label: string, state: State, grant: number): void {
    const granted = Math.min(Math.max(grant, 1), this.#world.terms.requested)
    const { missing } = this.#credits({ ...state, granted })
    const { posted, receives } = state
    const isEnough = posted > granted + this.#world.terms.reverse
    const more = isEnough ? 0 : missing + (this.#variant.batch ?? 0)
    this.#go(label, state, { posted: posted + more, receives: receives + more })
  }
}

/** Explores the whole state space of one connection. */
export const explore = (world: World): Explored => new Explorer(world).explore()
