/** TCP on one host of a fabric: its listeners, its sockets, and the way to other hosts. */
import type { Endpoint, SimulatedHost } from "../io/IoPool.ts"
import type { Connection, Reader, Sockets } from "../io/internal/platform.ts"
import type { Network } from "./network.ts"
import { type TcpAddress, TcpConnection, type TcpEnd } from "./tcpConnection.ts"
import { TcpServer } from "./tcpServer.ts"
import { type SocketHost, socketError, TcpSocket } from "./tcpSocket.ts"

/** The cutting of writes into segments that arrive one by one. */
export type Segments = "whole" | "random" | "bytes"

/** Shared by the hosts of one fabric. */
export interface TcpNetwork {
  readonly network: Network
  readonly segments: Segments
  /** The host with this address or name. */
  readonly find: (host: string) => TcpHost | undefined
}

/** In random mode, the share of writes that are cut, and the most cuts of one. */
const [cutShare, mostCuts] = [0.3, 3]

/** Ports of callers, as on Linux. */
const [firstFreePort, lastPort] = [32_768, 60_999]

const isLoopback = (host: string): boolean => host === "localhost" || host.startsWith("127.")

const isAny = (host: string): boolean => host === "" || host === "0.0.0.0" || host === "::"

/** Cuts what is written into pieces, each of which arrives by itself. */
const cut = (bytes: Uint8Array, segments: Segments, network: Network): Array<Uint8Array> => {
  const draw = () => network.options.random.nextDoubleUnsafe()
  if (segments === "bytes") return Array.from(bytes, (byte) => Uint8Array.of(byte))
  if (segments === "whole" || draw() >= cutShare) return [bytes]
  const cuts = Array.from({ length: 1 + Math.floor(mostCuts * draw()) }, () =>
    Math.floor(bytes.length * draw())
  )
  const ends = [...cuts, bytes.length].toSorted((a, b) => a - b)
  return ends
    .map((end, k) => bytes.subarray(ends[k - 1] ?? 0, end))
    .filter(({ length }) => length > 0)
}

export class TcpHost implements TcpEnd, SimulatedHost {
  readonly name: string
  readonly address: string
  readonly #tcp: TcpNetwork
  readonly #servers = new Map<number, TcpServer>()
  readonly #connections = new Map<TcpSocket, TcpConnection>()
  #nextPort = firstFreePort

  constructor(tcp: TcpNetwork, name: string, address: string) {
    this.#tcp = tcp
    this.name = name
    this.address = address
  }

  isNode(node: string): boolean {
    return node === this.name
  }

  /** Sockets and listeners that are open. */
  get openSockets(): number {
    return this.#connections.size + this.#servers.size
  }

  /** Its programs were killed: the kernel ends their connections and listeners. */
  crash(): void {
    this.#servers.clear()
    this.#tcp.network.counters.brokenConnections += this.#connections.size
    for (const socket of this.#connections.keys()) socket.kill()
  }

  /** Breaks one of its connections at both ends. Returns whether there was one. */
  reset(): boolean {
    const connection = this.#pick(() => true)
    connection?.reset()
    return connection !== undefined
  }

  /** One of its connections with a host carries nothing any more, and neither end is told. */
  sever(other: TcpEnd): boolean {
    const connection = this.#pick(({ hosts }) => hosts.includes(other))
    connection?.sever()
    return connection !== undefined
  }

  #pick(accepts: (connection: TcpConnection) => boolean): TcpConnection | undefined {
    const all = [...this.#connections.values()].filter(accepts)
    return all[Math.floor(this.#tcp.network.options.random.nextDoubleUnsafe() * all.length)]
  }

  /** Sockets whose events run by `enqueue`. */
  readonly sockets = (enqueue: (act: () => void) => void): Sockets => {
    const host: SocketHost = {
      enqueue,
      cut: (bytes) => cut(bytes, this.#tcp.segments, this.#tcp.network),
      gone: (socket) => void this.#connections.delete(socket),
      refusesTls: () => this.#refusesTls
    }
    return {
      connectSocket: (to, tls, halfOpen) => {
        const socket = new TcpSocket(host, { tls, halfOpen, isServer: false })
        this.#connect(socket, to)
        return socket
      },
      adoptSocket: () => {
        throw socketError("ENOTSUP", "adopt")
      },
      makeServer: (tls, halfOpen, _within, accepted) =>
        new TcpServer(this, {
          enqueue,
          accepted,
          makeSocket: () => new TcpSocket(host, { tls, halfOpen, isServer: true })
        }),
      // Certificates are not simulated.
      renewCertificates: () => {},
      rereadSocket: (accepted) => accepted,
      startReading: (socket: Connection, _byEvents: boolean, reader: Reader) =>
        (socket as TcpSocket).start(reader),
      peerOf: (socket) => (socket as TcpSocket).peer
    }
  }

  get #refusesTls(): boolean {
    for (const { node } of this.#tcp.network.active("TlsRefusal")) {
      if (this.isNode(node)) return true
    }
    return false
  }

  /** Takes a port for a server; undefined if another one has it. */
  bind(server: TcpServer, wanted: number): number | undefined {
    const port = wanted === 0 ? this.#freePort() : wanted
    if (this.#servers.has(port)) return undefined
    this.#servers.set(port, server)
    return port
  }

  unbind(server: TcpServer): void {
    for (const [port, known] of this.#servers) if (known === server) this.#servers.delete(port)
  }

  /** The server that a connection from another host to this address reaches. */
  serverAt(from: TcpEnd, to: TcpAddress): TcpServer | undefined {
    const server = this.#servers.get(to.port)
    if (server === undefined) return undefined
    const { host } = server
    const isReached =
      isAny(host) ||
      (isLoopback(host)
        ? from === this && isLoopback(to.host)
        : [this.address, this.name].includes(host))
    return isReached ? server : undefined
  }

  add(socket: TcpSocket, connection: TcpConnection): void {
    this.#connections.set(socket, connection)
  }

  #freePort(): number {
    this.#nextPort = this.#nextPort >= lastPort ? firstFreePort : this.#nextPort + 1
    return this.#nextPort
  }

  #connect(client: TcpSocket, to: Endpoint): void {
    if ("path" in to) throw socketError("EAFNOSUPPORT", "connect")
    const target = isLoopback(to.host) ? this : this.#tcp.find(to.host)
    // Nothing answers at an address that no host has: the attempt ends when its time is over.
    if (target === undefined) {
      client.remote = { address: to.host, port: to.port, send: () => {}, consumed: () => {} }
      return
    }
    const { network } = this.#tcp
    const port = this.#freePort()
    this.add(client, new TcpConnection(network, { client, from: this, port, target, to }))
  }
}
