/** The interface through which this machine sends to an address. */
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"
import { isIPv6 } from "node:net"
import { networkInterfaces } from "node:os"
import { hasAddress, namesIn } from "./interfaces.ts"

/**
 * The address that the system would use. Connecting a datagram socket shows it, and sends nothing.
 */
const sourceTo = (host: string): Effect.Effect<string | undefined> =>
  Effect.acquireUseRelease(
    Effect.sync(() => createSocket(isIPv6(host) ? "udp6" : "udp4")),
    (socket) =>
      Effect.callback<string | undefined>((resume) => {
        socket.once("error", () => resume(Effect.undefined))
        // Any port: nothing is sent to it.
        socket.connect(9, host, () => resume(Effect.sync(() => socket.address().address)))
      }),
    (socket) => Effect.sync(() => socket.close())
  )

/** Returns the interface that leads to a host, or undefined if there is none. */
export const routeTo = (host: string): Effect.Effect<string | undefined> =>
  Effect.map(sourceTo(host), (source) => {
    const look = networkInterfaces()
    return source === undefined
      ? undefined
      : namesIn(look).find((name) => hasAddress(look, name, source))
  })
