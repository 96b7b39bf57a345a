/** Scripts of misbehaving members. None harms the state of a cluster: no slots, votes or bans. */
import { randomBytes } from "node:crypto"
import { encode } from "../../../schema/bus/MessageCodec.ts"
import type { Gossip, Message } from "../../../schema/bus/Message.ts"
import { malformed } from "./malformed.ts"
import type { PeerLink, Script, ScriptedPeer } from "./scriptedPeer.ts"

/** Bytes a second that a slow peer reads. */
const slowRate = 1_024

/** Strangers that one PING of a flood names: a frame of just under a mebibyte. */
const floodEntries = 10_000

const ping = (peer: ScriptedPeer): Buffer => Buffer.from(encode(peer.heartbeat("Ping")))

const half = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.length >> 1)

/** Opens a link more, and writes on it when it is open. */
const dialAndWrite = (peer: ScriptedPeer, write: (link: PeerLink) => void): void => {
  const link = peer.dial()
  link.socket.once("connect", () => write(link))
}

const stranger = (k: number): Gossip => ({
  id: randomBytes(20).toString("hex"),
  pingSent: 0,
  pongReceived: 0,
  // Addresses that are for documentation: they lead to no machine.
  ip: `192.0.2.${k % 256}`,
  port: 6_379,
  busPort: 16_379,
  otherPort: 0,
  flags: 1
})

const publication = (text: string, peer: ScriptedPeer): Message => ({
  _tag: "Publish",
  header: peer.header(),
  channel: Buffer.from("news"),
  message: Buffer.from(text)
})

/** Members by what is wrong with them. */
export const scripts = {
  member: { description: "Joins, answers, and is in order in every way" },
  slow: {
    description: `Joins, then reads ${slowRate} bytes a second from every link`,
    act: ({ links }) => {
      for (const link of links) link.readRate = slowRate
    }
  },
  mute: {
    description: "Joins, then answers nothing and says nothing, and keeps its links",
    receive: (link, message) => {
      if (!link.peer.hasJoined) link.peer.answer(link, message)
    },
    sendsNoPings: true
  },
  garbage: {
    description: "Joins, then opens a link each second for a PING and bytes that are no frame",
    act: (peer) =>
      dialAndWrite(peer, (link) => {
        link.write(Buffer.concat([ping(peer), randomBytes(1_024).fill(0, 0, 1)]))
      })
  },
  impostor: {
    description: "Speaks under the id of another member (--id), and does not answer as that one",
    greet: (link) => link.send(link.peer.heartbeat("Ping"), publication("forged", link.peer)),
    receive: () => {}
  },
  "half-open": {
    description: "Joins, then opens links and closes its sending half of each after half a frame",
    act: (peer) =>
      dialAndWrite(peer, (link) => {
        link.write(half(ping(peer)))
        link.socket.end()
      })
  },
  cut: {
    description: "Joins, then opens a link each second and closes it in the middle of a frame",
    act: (peer) =>
      dialAndWrite(peer, (link) => {
        link.write(Buffer.concat([ping(peer), half(ping(peer))]))
        link.end()
      })
  },
  "gossip-flood": {
    description: `Joins, then names ${floodEntries} nodes that do not exist, each second others`,
    act: (peer) => {
      for (const link of peer.links) {
        if (!link.isDialled || !link.isOpen) continue
        const gossip = Array.from({ length: floodEntries }, (_, k) => stranger(k))
        link.send(peer.heartbeat("Ping", { gossip }))
      }
    }
  },
  malformed: {
    description: "Joins, then sends each kind of malformed frame on a link of its own",
    act: (peer, round) =>
      dialAndWrite(peer, (link) => {
        const { pieces } = malformed[round % malformed.length]!
        for (const piece of pieces(ping(peer))) link.write(piece)
        link.write(ping(peer))
      })
  }
} as const satisfies Record<string, Script>
