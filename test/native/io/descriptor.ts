/**
 * A descriptor of a connected socket that nothing else in this process holds.
 */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import koffi from "koffi"

/** Connects to a port of loopback, and keeps a duplicate of the descriptor. */
export const descriptorTo = (port: number) =>
  Effect.callback<number>((resume) => {
    const dup = koffi.load(null).func("int dup(int)")
    const socket = net.connect({ host: "127.0.0.1", port })
    socket.once("connect", () => {
      const { _handle: handle } = socket as unknown as { _handle: { fd: number } }
      const fd = dup(handle.fd)
      socket.destroy()
      socket.once("close", () => resume(Effect.succeed(fd)))
    })
  })
