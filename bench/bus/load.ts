/**
 * A member of a cluster in a process of its own that floods one other member.
 *
 * `node load.ts BUSPORT KIND COUNT [CLIENTPORT]` joins the member, says `joined`, and at `go` sends
 * so many frames: `full` and `light` publications, or `ping`. It says `done` when each PING was
 * answered, or each publication has come to its own client of the client port.
 */
import { once } from "node:events"
import * as net from "node:net"
import { setTimeout } from "node:timers/promises"
import type { Message } from "../../src/schema/bus/Message.ts"
import { encode } from "../../src/schema/bus/MessageCodec.ts"
import { type PeerLink, ScriptedPeer } from "../../src/testing/BusPeer.ts"

// The process that is measured may be stopped: nothing is left to flood then.
process.on("disconnect", () => process.exit())

const [busPort, kind, total, clientPort] = process.argv.slice(2)
const count = Number(total)

/** Bytes of one write: as much as a socket takes at once. */
const blockBytes = 262_144

const channel = Buffer.from("news")
const message = Buffer.from("x")

/** What a server pushes to a client for one publication. */
const pushedBytes = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n".length

const frameOf = (peer: ScriptedPeer): Uint8Array => {
  if (kind === "ping") return encode(peer.heartbeat("Ping"))
  const header = kind === "light" ? undefined : peer.header()
  const publication: Message = { _tag: "Publish", header, channel, message }
  return encode(publication)
}

/** Writes all frames, in blocks, as fast as they are taken. */
const flood = async (link: PeerLink, frame: Uint8Array): Promise<void> => {
  const perBlock = Math.max(1, Math.floor(blockBytes / frame.length))
  const block = Buffer.concat(Array.from({ length: perBlock }, () => frame))
  for (let left = count; left > 0; left -= perBlock) {
    const bytes = left >= perBlock ? block : block.subarray(0, left * frame.length)
    if (!link.socket.write(bytes)) await once(link.socket, "drain")
  }
}

/** A client that has subscribed, and how many publications it has got. */
const subscribe = async (port: number) => {
  const socket = net.connect(port, "127.0.0.1")
  socket.write("SUBSCRIBE news\r\n")
  await once(socket, "data")
  let bytes = 0
  socket.on("data", (part: Buffer) => (bytes += part.length))
  return () => bytes / pushedBytes
}

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await setTimeout(5)
}

const peer = new ScriptedPeer(
  { description: "", sendsNoPings: true },
  { to: { host: "127.0.0.1", port: Number(busPort) } }
)
const link = await new Promise<PeerLink>((resolve) => {
  void peer.start().then(() => resolve([...peer.links][0]!))
})
await until(() => peer.hasJoined)
// Servers bind a link to a node with the first frame after they have taken it in.
link.send(peer.heartbeat("Ping"))
await until(() => link.count("Pong") > 1)
const received = clientPort === undefined ? undefined : await subscribe(Number(clientPort))
const before = link.count("Pong")
process.send?.("joined")
await once(process, "message")
await flood(link, frameOf(peer))
if (kind === "ping") await until(() => link.count("Pong") - before >= count)
if (received !== undefined) await until(() => received() >= count)
process.send?.("done")
