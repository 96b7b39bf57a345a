/**
 * Limit of the open connections of a port. At the limit the oldest connection whose peer has proven
 * nothing is closed for the new one, so silent peers cannot close a port to others.
 *
 * Pure: it counts, and names the connection that has to go; the caller closes it. It lies beside
 * the lanes, since providers and actors limit their ports by it.
 */

/** How many connections may be open at the same time, and how many of these from one address. */
export interface ConnectionLimits {
  readonly connections: number
  readonly perAddress: number
}

/** Counts the connections of one port. */
export class ConnectionLimiter<Connection> {
  readonly #limits: ConnectionLimits
  /** Connections that count, with the peer's address. */
  readonly #open = new Map<Connection, string>()
  /** Those of them that may be closed, the oldest first. */
  readonly #idle = new Set<Connection>()
  readonly #perAddress = new Map<string, number>()

  constructor(limits: ConnectionLimits) {
    this.#limits = limits
  }

  /** Connections that count. */
  get size(): number {
    return this.#open.size
  }

  /**
   * Counts a new connection, which may be closed from now on. Returns the connection that has to be
   * closed for it: the new one itself, which then does not count, if no other may be closed.
   */
  admit(connection: Connection, address: string): Connection | undefined {
    const { connections, perAddress } = this.#limits
    const isAddressFull = (this.#perAddress.get(address) ?? 0) >= perAddress
    if (isAddressFull || this.#open.size >= connections) {
      const oldest = this.#oldest(isAddressFull ? address : undefined)
      if (oldest === undefined) return connection
      this.release(oldest)
      this.#count(connection, address)
      return oldest
    }
    this.#count(connection, address)
    return undefined
  }

  /** Marks a connection for which the local side works: it is not closed. */
  setBusy(connection: Connection): void {
    this.#idle.delete(connection)
  }

  /** Marks a connection that waits for its peer again, as the youngest of those. */
  setIdle(connection: Connection): void {
    if (this.#open.has(connection)) this.#idle.add(connection)
  }

  /** Stops counting a connection that has ended, or whose peer has proven itself. */
  release(connection: Connection): void {
    const address = this.#open.get(connection)
    if (address === undefined) return
    this.#open.delete(connection)
    this.#idle.delete(connection)
    const left = (this.#perAddress.get(address) ?? 0) - 1
    if (left <= 0) this.#perAddress.delete(address)
    else this.#perAddress.set(address, left)
  }

  #count(connection: Connection, address: string): void {
    this.#open.set(connection, address)
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    this.#idle.add(connection)
  }

  #oldest(address: string | undefined): Connection | undefined {
    for (const connection of this.#idle) {
      if (address === undefined || this.#open.get(connection) === address) return connection
    }
    return undefined
  }
}
