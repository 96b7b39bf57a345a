/**
 * Finds the bus port behind an address. A bus port ends a connection that speaks RESP; a client
 * port answers, and can be asked where its bus is.
 */
import * as net from "node:net"
import * as Effect from "effect/Effect"

/** What was found at an address. */
export interface BusAddress {
  readonly address: string
  /** Undefined if the address was that of the bus; otherwise how it was found. */
  readonly foundBy: "asked" | "rule" | undefined
}

/** A client port answers within this time, or is none. */
const answerMs = 1_000

/** In clusters that say nothing else, the bus is this far above the client port. */
const busOffset = 10_000

const question = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n"

/** What the peer says to a question in RESP: empty if it is not one that answers. */
const ask = (host: string, port: number): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    let text = ""
    const done = () => resume(Effect.succeed(text))
    const socket = net.connect({ host, port }, () => void socket.write(question))
    socket.setEncoding("latin1")
    socket.on("data", (part: string) => {
      text += part
      if (text.startsWith("-") || text.includes("myself")) socket.end()
    })
    socket.on("close", done).on("error", done)
    return Effect.sync(() => void socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: answerMs, orElse: () => Effect.succeed("") }))

/** The port after the `@` in the line of CLUSTER NODES about the node that answers. */
const ownBusPort = (text: string): number | undefined => {
  const line = text.split("\n").find((line) => /\bmyself\b/.test(line))
  const found = /@(\d+)/.exec(line ?? "")?.[1]
  return found === undefined ? undefined : Number(found)
}

/** The bus address at `host:port`, which may be that of its client port. */
export const findBus = (host: string, port: number): Effect.Effect<BusAddress> =>
  Effect.map(ask(host, port), (text) => {
    const at = (busPort: number) => (host.includes(":") ? `[${host}]` : host) + `:${busPort}`
    if (!/^[-+$:*]/.test(text)) return { address: at(port), foundBy: undefined }
    const asked = ownBusPort(text)
    return asked === undefined
      ? { address: at(port + busOffset), foundBy: "rule" }
      : { address: at(asked), foundBy: "asked" }
  })
