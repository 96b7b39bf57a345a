/**
 * Bounds the open connections of a port. At the limit the oldest connection whose peer has proven
 * nothing gives way to the new one, so silent peers cannot close a port to others.
 *
 * Pure: it keeps the accounts and names the connection that has to go; the caller ends it.
 */

/** Limits of open connections, in all and from one address. */
export interface AdmissionLimits {
  readonly connections: number
  readonly perAddress: number
}

export class Admission<Connection> {
  readonly #limits: AdmissionLimits
  /** Connections that count, with the peer's address. */
  readonly #open = new Map<Connection, string>()
  /** Those of them that may give way, the oldest first. */
  readonly #idle = new Set<Connection>()
  readonly #perAddress = new Map<string, number>()

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * Counts a new connection, which may give way from now on. Returns the connection that has to be
   * ended for it: the new one itself if no other may give way. That one does not count any more.
   */
  admit(connection: Connection, address: string): Connection | undefined {
    const { connections, perAddress } = this.#limits
    const sameAddress = this.#perAddress.get(address) ?? 0
    const isOver = sameAddress >= perAddress || this.#open.size >= connections
    const last = isOver ? this.#oldest(sameAddress >= perAddress ? address : undefined) : undefined
    if (isOver && last === undefined) return connection
    if (last !== undefined) this.gone(last)
    this.#open.set(connection, address)
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    this.#idle.add(connection)
    return last
  }

  /** The connection waits for this side: it does not give way. */
  busy(connection: Connection): void {
    this.#idle.delete(connection)
  }

  /** The connection waits for its peer again. */
  idle(connection: Connection): void {
    if (this.#open.has(connection)) this.#idle.add(connection)
  }

  /** The connection has ended, or its peer has proven itself: it does not count any more. */
  gone(connection: Connection): void {
    const address = this.#open.get(connection)
    if (address === undefined) return
    this.#open.delete(connection)
    this.#idle.delete(connection)
    const left = this.#perAddress.get(address)! - 1
    if (left === 0) this.#perAddress.delete(address)
    else this.#perAddress.set(address, left)
  }

  #oldest(address: string | undefined): Connection | undefined {
    for (const connection of this.#idle) {
      if (address === undefined || this.#open.get(connection) === address) return connection
    }
    return undefined
  }
}
