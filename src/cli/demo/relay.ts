/**
 * A network connection that can be cut: TCP connections go through it, each port to another one.
 */
import { once } from "node:events"
import * as net from "node:net"

const host = "127.0.0.1"

export class Relay {
  readonly #servers: Array<net.Server> = []
  readonly #sockets = new Set<net.Socket>()
  #isCut = false

  /** Opens a port that leads to another one. */
  async open(to: () => number): Promise<number> {
    const server = net.createServer((near) => this.#join(near, to()))
    this.#servers.push(server)
    server.listen(0, host)
    await once(server, "listening")
    return (server.address() as net.AddressInfo).port
  }

  /** Breaks all connections, and lets no new ones through, for so long. */
  cut(millis: number): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.resetAndDestroy()
    setTimeout(() => (this.#isCut = false), millis)
  }

  close(): void {
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(near: net.Socket, port: number): void {
    if (this.#isCut) return void near.resetAndDestroy()
    const far = net.connect(port, host)
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      this.#sockets.add(from)
      from.setNoDelay(true)
      from.on("error", () => to.resetAndDestroy())
      from.on("close", () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  }
}
