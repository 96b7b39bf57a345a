/** A simulated connection: two sockets, and a wire in each direction. */
import type { Network, Node } from "./network.ts"
import type { TcpServer } from "./tcpServer.ts"
import type { TcpSocket } from "./tcpSocket.ts"
import { type Segment, Wire } from "./tcpWire.ts"

/** A host as connections see it. */
export interface TcpEnd extends Node {
  readonly address: string
  /** The server that a connection from another host to this address reaches. */
  readonly serverAt: (from: TcpEnd, to: TcpAddress) => TcpServer | undefined
  readonly add: (socket: TcpSocket, connection: TcpConnection) => void
}

export interface TcpAddress {
  readonly host: string
  readonly port: number
}

export interface Opening {
  readonly client: TcpSocket
  readonly from: TcpEnd
  /** The port that the client has. */
  readonly port: number
  readonly target: TcpEnd
  readonly to: TcpAddress
}

export class TcpConnection {
  readonly hosts: readonly [TcpEnd, TcpEnd]
  readonly #opening: Opening
  readonly #there: Wire
  readonly #back: Wire
  readonly #network: Network
  #server: TcpSocket | undefined

  /** Asks the target for a connection. */
  constructor(network: Network, opening: Opening) {
    const { client, from, target, to } = opening
    this.hosts = [from, target]
    this.#opening = opening
    this.#network = network
    this.#there = new Wire(network, from, target, {
      arrive: (segment) => this.#arrive(segment),
      lost: () => this.#lost(client)
    })
    this.#back = new Wire(network, target, from, {
      arrive: (segment) => client.arrive(segment),
      lost: () => this.#lost(this.#server)
    })
    client.remote = {
      address: target.address,
      port: to.port,
      send: (segment) => this.#there.send(segment),
      consumed: (bytes) => network.after(0, () => this.#server?.onConsumed(bytes))
    }
    this.#there.send({ _tag: "Open" })
  }

  reset(): void {
    this.#network.counters.brokenConnections++
    this.#opening.client.break("ECONNRESET")
    this.#server?.break("ECONNRESET")
  }

  sever(): void {
    this.#network.counters.brokenConnections++
    this.#there.isDead = true
    this.#back.isDead = true
  }

  #lost(sender: TcpSocket | undefined): void {
    this.#network.counters.brokenConnections++
    sender?.break("ETIMEDOUT")
  }

  #arrive(segment: Segment): void {
    if (segment._tag !== "Open") return this.#server?.arrive(segment)
    const { client, from, port, target, to } = this.#opening
    const server = target.serverAt(from, to)
    const socket = server?.take()
    if (server === undefined || socket === undefined) return this.#back.send({ _tag: "Refused" })
    this.#server = socket
    socket.remote = {
      address: from.address,
      port,
      send: (segment) => this.#back.send(segment),
      consumed: (bytes) => this.#network.after(0, () => client.onConsumed(bytes))
    }
    target.add(socket, this)
    socket.accepted()
  }
}
