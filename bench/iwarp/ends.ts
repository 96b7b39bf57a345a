/** An end of an iWARP connection on the loopback interface, for both processes of a run. */
import * as Effect from "effect/Effect"
import { CompletionBatch } from "../../src/native/verbs/Completion.ts"
import { ReceiveRequest, SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import * as IwarpVerbs from "../../src/native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../src/native/verbs/Verbs.ts"
import { memoryBytes } from "./memory.ts"

export type On = "worker" | "main"

const access = ["local-write", "remote-write"] as const

export const layer = (on: On, crc: boolean) =>
  IwarpVerbs.layer({ on, crc, pool: { workers: on === "main" ? 0 : 1 } })

/** A queue pair in `init` with memory, on the loopback interface. */
export const end = Effect.gen(function* () {
  const verbs = yield* Verbs
  const device = yield* verbs.open("lo")
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(4096)
  const region = yield* domain.register({ memory: memoryBytes, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions, sendDepth: 256 })
  yield* queuePair.modify({ to: "init", access })
  const batch = new CompletionBatch(64)

  // Memory that was never written is one page of zeros, which is always in the cache.
  region.bytes.fill(1)
  /** What has ended, all of which must be good; answers how many messages came. */
  const take = (): number => {
    const count = completions.poll(batch)
    let received = 0
    for (let index = 0; index < count; index++) {
      const { kind, status } = batch.at(index)
      if (status !== "success") throw new Error(status)
      if (kind === "receive") received += 1
    }
    return received
  }
  /** Waits until something has ended; answers how many messages came. */
  const messages = Effect.map(completions.ready, take)
  const receive = new ReceiveRequest()
  receive.scatterList.add(region, 0, 64)
  const toReceive = (): void => void queuePair.postReceive(receive)
  const message = new SendRequest()
  message.inline = true
  message.signalled = false
  message.scatterList.add(region, 0, 64)
  let sent = 0
  /**
   * Sends 64 bytes, with a completion now and then, which frees the places of the others. `more`:
   * another one follows at once.
   */
  const send = (more = false): void => {
    sent += 1
    message.more = more
    message.signalled = sent % 64 === 0
    if (queuePair.post(message) !== "accepted") throw new Error("a send was not accepted")
  }
  return { device, queuePair, region, messages, toReceive, send }
})
