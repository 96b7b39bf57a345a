/** An end on the first RDMA device of this machine, for both processes of a run. It polls. */
import * as Effect from "effect/Effect"
import * as IbVerbs from "../../src/native/ib/IbVerbs.ts"
import { CompletionBatch } from "../../src/native/verbs/Completion.ts"
import { Verbs } from "../../src/native/verbs/Verbs.ts"
import { ReceiveRequest, SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import { latencyBytes, memoryBytes } from "./sizes.ts"

const access = ["local-write", "remote-write"] as const

export const layer = IbVerbs.layer()

/** Memory of the other process. */
export interface Remote {
  readonly key: number
  readonly address: number
}

export const bytesOf = ({ address, key }: Remote): Uint8Array => {
  const bytes = new Uint8Array(12)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, key)
  view.setFloat64(4, address)
  return bytes
}

export const remoteOf = (bytes: Uint8Array): Remote => {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return { key: view.getUint32(0), address: view.getFloat64(4) }
}

/** A queue pair in `init` with memory, and operations that spin until something has ended. */
export const end = Effect.gen(function* () {
  const device = yield* (yield* Verbs).open()
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(512)
  const region = yield* domain.register({ memory: memoryBytes, access })
  region.bytes.fill(1)
  const queuePair = yield* domain.queuePair({ sendCompletions: completions, sendDepth: 128 })
  yield* queuePair.modify({ to: "init", access })
  const batch = new CompletionBatch(64)

  /** Waits until something has ended well. Returns how many messages came. */
  const spin = (): number => {
    let received = 0
    while (completions.poll(batch) === 0);
    for (let index = 0; index < batch.count; index++) {
      const { kind, status } = batch.at(index)
      if (status !== "success") throw new Error(status)
      if (kind === "receive") received += 1
    }
    return received
  }
  const post = (request: SendRequest): void => {
    while (queuePair.post(request) !== "accepted") spin()
  }
  const receive = new ReceiveRequest()
  receive.scatterList.add(region, 0, latencyBytes)
  const toReceive = (): void => void queuePair.postReceive(receive)
  return { device, queuePair, region, spin, post, toReceive }
})

export type End = Effect.Success<typeof end>

/** An inline request of a few bytes, which is told of now and then to free the places of others. */
const short = (opcode: "send" | "write", { region }: End): SendRequest => {
  const request = Object.assign(new SendRequest(), { opcode, inline: true })
  request.scatterList.add(region, 0, latencyBytes)
  return request
}

/** Waits for a message, and sends one; `isFirst` sends before it waits. */
export const exchangeSends = (own: End, trips: number, isFirst: boolean): number => {
  const request = short("send", own)
  let [sent, received] = [0, 0]
  const send = (): void => {
    sent += 1
    request.signalled = sent % 64 === 0
    own.post(request)
  }
  if (isFirst) send()
  while (received < trips) {
    const count = own.spin()
    for (let message = 0; message < count; message++) {
      received += 1
      own.toReceive()
      if (sent < trips) send()
    }
  }
  return received
}

/** Waits until the other process has written the mark of the trip, and writes it there. */
export const exchangeWrites = (
  own: End,
  { address, key }: Remote,
  trips: number,
  isFirst: boolean
): number => {
  const request = short("write", own).remote(key, address + latencyBytes)
  const [source, sink] = [latencyBytes - 1, 2 * latencyBytes - 1]
  const { bytes } = own.region
  for (let trip = 1; trip <= trips; trip++) {
    // Never the 1 that is there before, nor the mark of the trip before.
    const mark = (trip % 254) + 2
    const write = (): void => {
      bytes[source] = mark
      request.signalled = trip % 64 === 0
      own.post(request)
    }
    if (isFirst) write()
    while (Atomics.load(bytes, sink) !== mark);
    if (!isFirst) write()
  }
  return trips
}
