/** Watches calls from outside of the simulated processes, by a token that no two calls share. */

/** The outcome that a caller got. */
export type Told = "reply" | "unknown" | "interrupted" | "failed"

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

  get pending(): number {
    return this.#open.size
  }

  begin(): number {
    this.#lastToken++
    this.#open.add(this.#lastToken)
    return this.#lastToken
  }

  executed(token: number): void {
    const times = (this.#executions.get(token) ?? 0) + 1
    this.#executions.set(token, times)
    if (times > 1) this.#complain(`call ${token} was executed ${times} times`)
  }

  /** The handler of a call has called back, and that call is executed. */
  calledBack(token: number): void {
    if (this.#callBacks.has(token)) this.#complain(`the call back of ${token} was executed twice`)
    this.#callBacks.add(token)
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
