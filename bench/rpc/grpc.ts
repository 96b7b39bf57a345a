/** `@grpc/grpc-js` with messages of the same sizes. */
import { Client, credentials, Server, ServerCredentials, type handleUnaryCall } from "@grpc/grpc-js"
import type { Outcome } from "../harness.ts"
import { elsewhere } from "../iwarp/writes.ts"
import { callBytes, closedLoop, replyBytes } from "./loop.ts"

const path = "/bench/call"
const asIs = (bytes: Buffer): Buffer => bytes

/** Serves, and gives the port. */
export const serve = (): Promise<number> => {
  const reply = Buffer.alloc(replyBytes)
  const call: handleUnaryCall<Buffer, Buffer> = (_, answer) => answer(null, reply)
  const server = new Server()
  const coding = {
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs
  }
  server.addService(
    { call: { path, requestStream: false, responseStream: false, ...coding } },
    { call }
  )
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error)
    )
  })
}

export const byGrpc = async (inFlight: number): Promise<Record<string, Outcome>> => {
  const port = await elsewhere(new URL("./peer.ts", import.meta.url), "grpc")
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  const message = Buffer.alloc(callBytes)
  return closedLoop(inFlight, (ended) => {
    client.makeUnaryRequest(path, asIs, asIs, message, (error) => ended(error ?? undefined))
  })
}
