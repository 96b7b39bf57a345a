/**
 * Asks an echo, in a process of its own: `node echoLoad.ts PORT CONNECTIONS MESSAGES BYTES`. Each
 * connection sends so many messages of so many bytes, in blocks, and waits for the answers to the
 * first of several blocks under way before it sends another one. Tells its parent how many answers
 * came that equal what was sent.
 */
import { readFileSync } from "node:fs"
import * as tls from "node:tls"

const blockMessages = 100
const blocksUnderWay = 4

const [port = 0, connections = 0, messages = 0, size = 0] = process.argv.slice(2).map(Number)

const pem = (name: string): string =>
  readFileSync(new URL(`../../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8")
const secureContext = tls.createSecureContext({
  cert: pem("client"),
  key: pem("client-key"),
  ca: pem("ca")
})

/** A block of messages behind their length, each of other bytes. */
const block = Buffer.alloc(blockMessages * size)
for (let n = 0; n < blockMessages; n++) {
  block.fill(n + 1, n * size, (n + 1) * size)
  block.writeUInt32BE(size - 4, n * size)
}

let echoed = 0
let open = connections

const ask = (): void => {
  const to = { host: "127.0.0.1", port, secureContext, servername: "localhost" }
  const socket = tls.connect(to).setNoDelay(true)
  let unsent = messages / blockMessages
  let at = 0
  let good = true
  const send = (): void => {
    if (unsent-- > 0) socket.write(block)
  }
  socket.on("secureConnect", () => {
    for (let n = 0; n < blocksUnderWay; n++) send()
  })
  socket.on("data", (bytes: Buffer) => {
    let from = 0
    while (from < bytes.length) {
      const length = Math.min(bytes.length - from, block.length - at)
      good &&= block.compare(bytes, from, from + length, at, at + length) === 0
      from += length
      at += length
      if (at < block.length) continue
      at = 0
      if (good) echoed += blockMessages
      send()
    }
    if (unsent < 0 - blocksUnderWay + 1) socket.end()
  })
  socket.on("close", () => {
    if (--open === 0) process.send?.(echoed, () => process.disconnect())
  })
  socket.on("error", (error) => console.error(error))
}

for (let n = 0; n < connections; n++) ask()
