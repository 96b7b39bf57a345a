/**
 * An echo in a process of its own.
 */
import * as net from "node:net"

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {})
  socket.pipe(socket)
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  process.send?.(typeof address === "object" ? address?.port : 0)
})
