/** `@grpc/grpc-js` with messages of the same sizes. */
import { Client, credentials, type handleUnaryCall, Server, ServerCredentials } from "@grpc/grpc-js"
import type { Outcome } from "../harness.ts"
import { elsewhere } from "../iwarp/writes.ts"
import { bulk, byCallbacks, callBytes, measured, replyBytes } from "./loop.ts"
import { bulkBytes, bulkCalls, bulkInFlight, bulkResult, validateBulk } from "./program.ts"

const [small, large] = ["/bench/call", "/bench/bulk"]
const asIs = (bytes: Buffer): Buffer => bytes

const always =
  (reply: Buffer): handleUnaryCall<Buffer, Buffer> =>
  (_, answer) =>
    answer(null, reply)

/** Serves, and gives the port. */
export const serve = (): Promise<number> => {
  const server = new Server()
  const procedure = (path: string) => ({
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs
  })
  server.addService(
    { call: procedure(small), bulk: procedure(large) },
    { call: always(Buffer.alloc(replyBytes)), bulk: always(Buffer.from(bulkResult)) }
  )
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error)
    )
  })
}

const clientOf = async () => {
  const port = await elsewhere(new URL("./peer.ts", import.meta.url), "grpc")
  return new Client(`127.0.0.1:${port}`, credentials.createInsecure())
}

export const byGrpc = async (inFlight: number): Promise<Record<string, Outcome>> => {
  const client = await clientOf()
  const message = Buffer.alloc(callBytes)
  return measured(
    inFlight,
    byCallbacks(inFlight, (ended) => {
      client.makeUnaryRequest(small, asIs, asIs, message, (error) => ended(error ?? undefined))
    })
  )
}

export const bulkByGrpc = async (): Promise<Record<string, Outcome>> => {
  const client = await clientOf()
  const message = Buffer.alloc(callBytes)
  return bulk([bulkCalls, bulkInFlight, bulkBytes], (inFlight) =>
    byCallbacks(inFlight, (ended) => {
      client.makeUnaryRequest(large, asIs, asIs, message, (error, bytes) => {
        if (bytes !== undefined) validateBulk(bytes)
        ended(error ?? undefined)
      })
    })
  )
}
