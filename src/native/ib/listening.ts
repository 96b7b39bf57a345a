/**
 * Listening: one identifier for each address, all on one port.
 *
 * None for "every address": such a listener would take the requests of all devices.
 */
import * as Effect from "effect/Effect"
import { constants } from "node:os"
import * as Gid from "../../schema/Gid.ts"
import type { Address } from "../verbs/Connection.ts"
import type { ListenAddress, OnRequest } from "../verbs/provider/listen.ts"
import { AddressInUse, InvalidAttribute, type ListenError } from "../verbs/VerbsError.ts"
import { type IbConnection, type Managed, requestOf } from "./connecting.ts"
import { describe } from "./failures.ts"
import type { NativeFailure } from "./library.ts"
import type { ManagerEvent, ManagerId } from "./manager.ts"
import { toNative } from "./socketAddress.ts"

/** Tries to find a port that is free on all addresses. */
const portTries = 8

/** The index of the interface that has an address. */
const interfaceOf = ({ device }: Managed, host: string): number =>
  device.allGids.find(({ gid }) => gid === Gid.fromAddress(host))?.interfaceIndex ?? 0

/** Listens at one address. For jobs of the control queue. */
const bind = async (
  managed: Managed,
  at: Address,
  backlog: number,
  onEvent: (event: ManagerEvent) => void
): Promise<{ readonly id: ManagerId; readonly port: number }> => {
  const { device, manager } = managed
  const { libraries } = device
  const index = interfaceOf(managed, at.host)
  await manager.bindAnchor(toNative(libraries, { ...at, port: 0 }, index))
  const id = await manager.create()
  try {
    id.handleEvents(onEvent)
    const address = toNative(libraries, at, index)
    await libraries.later("rdma_bind_addr", id.pointer, address)
    await libraries.later("rdma_listen", id.pointer, backlog)
    return { id, port: libraries.now("rdma_get_src_port", id.pointer) }
  } catch (error) {
    id.destroy()
    throw error
  }
}

/** Listens at all addresses on one port; undoes it if one of them fails. */
const bindAll = async (
  managed: Managed,
  { backlog, hosts, port: wanted }: ListenAddress,
  onEvent: (event: ManagerEvent) => void
) => {
  const ids: Array<ManagerId> = []
  let port = wanted
  try {
    for (const host of hosts) {
      const bound = await bind(managed, { host, port }, backlog, onEvent)
      ids.push(bound.id)
      port = bound.port
    }
    return { ids, port }
  } catch (error) {
    for (const id of ids) id.destroy()
    throw error
  }
}

const listenFailure = (
  { hosts: [host = ""], port }: ListenAddress,
  failure: NativeFailure
): ListenError =>
  failure.errno === constants.errno.EADDRINUSE
    ? new AddressInUse({ host, port })
    : new InvalidAttribute({ operation: "listen", attribute: "host", detail: describe(failure) })

/** Listens on a device. */
export const listen = Effect.fnUntraced(function* (
  managed: Managed,
  at: ListenAddress,
  ask: OnRequest<IbConnection>
): Effect.fn.Return<
  { readonly address: Address; readonly end: () => void; readonly settled: Effect.Effect<void> },
  ListenError
> {
  const { control } = managed.device
  const onEvent = (event: ManagerEvent): void => {
    if (event.request === undefined) return
    const request = requestOf(managed, event, event.request)
    if (ask(request) === undefined) request.reject(new Uint8Array(0))
  }
  const binding = control
    .run(() => bindAll(managed, at, onEvent))
    .pipe(Effect.mapError((failure) => listenFailure(at, failure)))
  const times = at.port === 0 ? portTries : 0
  const { ids, port } = yield* Effect.retry(binding, {
    times,
    while: ({ _tag }) => _tag === "AddressInUse"
  })
  return {
    address: { host: at.hosts[0]!, port },
    end: () => {
      for (const id of ids) id.destroy()
    },
    settled: control.idle
  }
})
