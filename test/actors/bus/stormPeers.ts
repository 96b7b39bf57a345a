/**
 * Many members in a process of their own, which lose all their links at once and connect again.
 *
 * `node stormPeers.ts BUSPORT COUNT CERT KEY CA` joins the node at a port of loopback with so many
 * members over mutual TLS and says `joined`. At each `go` they cut every link and dial at once; it
 * says `up` once links lead both ways again, with the number of links that failed meanwhile.
 */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { type PeerEvent, ScriptedPeer } from "../../../src/testing/BusPeer.ts"

process.on("disconnect", () => process.exit())

const [busPort, count, cert, key, ca] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string
]
const pem = (file: string): string => readFileSync(file, "utf8")
const tls = { cert: pem(cert), key: pem(key), ca: pem(ca) }
const to = { host: "127.0.0.1", port: Number(busPort) }

/** Links that could not be opened, or that the node has ended. */
let lost = 0
const onEvent = (event: PeerEvent): void => {
  if (event._tag === "Failed" || (event._tag === "Closed" && !event.byUs)) lost++
}

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await setTimeout(2)
}

/** One link each way has shown its peer. */
const isUp = ({ links }: ScriptedPeer): boolean => {
  const open = [...links].filter(({ isOpen }) => isOpen)
  return (
    open.some((link) => link.isDialled && link.count("Pong") > 0) &&
    open.some((link) => !link.isDialled && link.count("Ping") > 0)
  )
}

const peers: Array<ScriptedPeer> = []
for (let k = 0; k < Number(count); k++) {
  const peer = new ScriptedPeer({ description: "" }, { to, tls, onEvent })
  peers.push(peer)
  await peer.start()
  await until(() => peer.hasJoined && isUp(peer))
}
process.send?.("joined")

while (true) {
  await once(process, "message")
  lost = 0
  for (const peer of peers) {
    for (const link of peer.links) {
      link.byUs = true
      link.socket.destroy()
    }
    peer.dial()
  }
  await until(() => peers.every(isUp))
  process.send?.({ up: lost })
}
