/** A simulated listener, with the part of `node:net`'s face that a pool uses. */
import { EventEmitter } from "node:events"
import type * as net from "node:net"
import type { Connection, Server } from "../io/internal/platform.ts"
import { socketError, type TcpSocket } from "./tcpSocket.ts"

/** The ports of a host, as its servers take them. */
export interface Ports {
  readonly address: string
  /** Takes a port; undefined if another server has it. */
  readonly bind: (server: TcpServer, wanted: number) => number | undefined
  readonly unbind: (server: TcpServer) => void
}

export interface ServerOptions {
  readonly enqueue: (act: () => void) => void
  readonly makeSocket: () => TcpSocket
  readonly accepted: (socket: Connection) => void
}

export class TcpServer extends EventEmitter implements Server {
  readonly #ports: Ports
  readonly #options: ServerOptions
  /** Where it listens; empty for all addresses. */
  host = ""
  #port: number | undefined
  #backlog = Infinity
  /** Connections that its program was not told of. */
  #waiting = 0

  constructor(ports: Ports, options: ServerOptions) {
    super()
    this.#ports = ports
    this.#options = options
  }

  listen({ backlog, host = "", port = 0 }: net.ListenOptions, listening: () => void): void {
    this.host = host
    this.#backlog = backlog ?? Infinity
    this.#port = this.#ports.bind(this, port)
    const isBound = this.#port !== undefined
    this.#options.enqueue(() =>
      isBound ? listening() : this.emit("error", socketError("EADDRINUSE", "listen"))
    )
  }

  address(): net.AddressInfo {
    const address = this.host === "" ? "0.0.0.0" : this.host
    return { address, family: "IPv4", port: this.#port ?? 0 }
  }

  close(): void {
    this.#ports.unbind(this)
  }

  /** A socket for a connection that has come; undefined if too many wait for the program. */
  take(): TcpSocket | undefined {
    if (this.#waiting >= this.#backlog) return undefined
    this.#waiting++
    const socket = this.#options.makeSocket()
    socket.onOpen = () => {
      this.#waiting--
      this.#options.accepted(socket)
    }
    return socket
  }
}
