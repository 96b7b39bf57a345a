/** Watches calls from outside of the simulated processes, by a token that no two calls share. */
import * as Effect from "effect/Effect"
import * as History from "../../History.ts"
import * as Linearizability from "../../Linearizability.ts"

/** The outcome that a caller got. */
export type Told = "reply" | "unknown" | "interrupted" | "failed"

/** A connection of a client, by its place among those of this client. */
export interface Connection {
  readonly client: string
  readonly place: number
}

/** Registers that calls read and write: each has a history of few enough operations to check. */
const REGISTERS = 8
/** Tries after which a history is taken for good: no few operations need so many. */
const MOST_TRIES = 20_000

export class CallChecker {
  /** The first promise that was broken. */
  complaint: string | undefined = undefined
  /** Callers begin no more calls. */
  isOver = false
  /** Times that the server was started. */
  serverLives = 0
  replies = 0
  unknown = 0
  readonly #callBacks = new Set<number>()
  readonly #executions = new Map<number, number>()
  /** Calls whose caller waits. */
  readonly #open = new Set<number>()
  #lastToken = 0
  #clients = 0
  /** The oldest connection that a call may have been sent on, and the newest for a given up one. */
  readonly #sentFrom = new Map<number, Connection>()
  readonly #givenUpOn = new Map<number, Connection>()
  /** The newest connection of each client of which a call was executed. */
  readonly #newest = new Map<string, number>()
  readonly #registers = Array.from({ length: REGISTERS }, () => ({
    value: 0,
    history: History.make<Linearizability.RegisterInput, unknown>()
  }))

  get pending(): number {
    return this.#open.size
  }

  /** Each client of each life of their process has a name. */
  nameClient(): string {
    this.#clients++
    return `client ${this.#clients}`
  }

  /** `from` is the connection that is proved, if there is one. */
  begin(from: Connection | undefined): number {
    this.#lastToken++
    this.#open.add(this.#lastToken)
    if (from !== undefined) this.#sentFrom.set(this.#lastToken, from)
    return this.#lastToken
  }

  executed(token: number): void {
    const gone = this.#givenUpOn.get(token)
    if (gone !== undefined && gone.place < this.#newestOf(gone)) {
      this.#complain(`call ${token} began after one of a newer connection`)
    }
    const from = this.#sentFrom.get(token)
    if (from !== undefined) {
      this.#newest.set(from.client, Math.max(from.place, this.#newestOf(from)))
    }
    const times = (this.#executions.get(token) ?? 0) + 1
    this.#executions.set(token, times)
    if (times > 1) this.#complain(`call ${token} was executed ${times} times`)
  }

  /** The register that a call uses. */
  #registerOf(token: number) {
    return this.#registers[token % REGISTERS]!
  }

  #newestOf({ client }: Connection): number {
    return this.#newest.get(client) ?? -1
  }

  /** Executes the operation of a call on its register: an even one reads, others write. */
  use(token: number): number {
    const register = this.#registerOf(token)
    if (isWrite(token)) register.value = token
    return register.value
  }

  /** Records the operation of a call, as its caller sees it. */
  record<E, R>(token: number, call: Effect.Effect<number, E, R>): Effect.Effect<void, E, R> {
    const input = isWrite(token)
      ? ({ op: "write", value: token } as const)
      : ({ op: "read" } as const)
    const output = Effect.map(call, (value) => (isWrite(token) ? undefined : value))
    const { history } = this.#registerOf(token)
    return Effect.asVoid(history.record(`${token}`, input, output))
  }

  /** After the run. */
  checkRegisters(): void {
    for (const { history } of this.#registers) {
      const spec = Linearizability.register(0)
      const verdict = Linearizability.check(spec, history.operations(), MOST_TRIES)
      if (verdict._tag === "Rejected") this.#complain(Linearizability.explain(verdict))
    }
  }

  /** The handler of a call has called back, and that call is executed. */
  calledBack(token: number): void {
    if (this.#callBacks.has(token)) this.#complain(`the call back of ${token} was executed twice`)
    this.#callBacks.add(token)
  }

  /** Its caller gave a call up, on this connection or an older one. */
  givenUp(token: number, on: Connection): void {
    this.#givenUpOn.set(token, on)
    this.ended(token, "interrupted")
  }

  ended(token: number, told: Told, returned?: number): void {
    if (!this.#open.delete(token)) this.#complain(`call ${token} ended twice`)
    if (told === "failed") this.#complain(`call ${token} failed`)
    if (told === "unknown") {
      this.unknown++
      if (this.serverLives < 2) this.#complain(`call ${token}: unknown at a server that lives on`)
    }
    if (told !== "reply") return
    this.replies++
    if (returned !== token) this.#complain(`call ${token} got the reply of ${returned}`)
    if (!this.#executions.has(token)) this.#complain(`call ${token} was answered unexecuted`)
  }

  /** The process of the callers has died. */
  abandonAll(): void {
    this.#open.clear()
  }

  #complain(what: string): void {
    this.complaint ??= what
  }
}

const isWrite = (token: number): boolean => Math.floor(token / REGISTERS) % 2 === 0
