/**
 * Network interfaces of the operating system: those that are up and have addresses.
 *
 * A port keeps each address at its index as long as the address exists, also across a time without
 * any; a free index goes to the next new address.
 */
import type { NetworkInterfaceInfo } from "node:os"
import * as Gid from "../../schema/Gid.ts"
import type { DeviceEvent, GidEntry } from "../verbs/Device.ts"

/** The result of `os.networkInterfaces`. */
export type InterfaceTable = {
  readonly [name: string]: ReadonlyArray<NetworkInterfaceInfo> | undefined
}

/** The state of a port when its addresses were last read. */
export interface Port {
  /** Whether there is any address. */
  readonly isUp: boolean
  /** By their index; those from before the port went down stay here. */
  readonly gids: ReadonlyArray<Gid.Gid | undefined>
}

/** A port whose addresses have not been read. */
export const unseen: Port = { isUp: false, gids: [] }

const gidsIn = (look: InterfaceTable, name: string): ReadonlySet<Gid.Gid> =>
  new Set(
    (look[name] ?? [])
      // A link-local address means nothing without the interface.
      .filter(({ address }) => !address.startsWith("fe80:"))
      .flatMap(({ address }) => Gid.fromAddress(address) ?? [])
  )

/** Whether an interface has this address. */
export const hasAddress = (look: InterfaceTable, name: string, host: string): boolean => {
  const gid = Gid.fromAddress(host)
  return gid !== undefined && gidsIn(look, name).has(gid)
}

/** The names of the interfaces with addresses, those of wider scope first. */
export const namesIn = (look: InterfaceTable): ReadonlyArray<string> =>
  Object.entries(look)
    .toSorted(([, one], [, other]) => Number(one?.[0]?.internal) - Number(other?.[0]?.internal))
    .map(([name]) => name)
    .filter((name) => gidsIn(look, name).size > 0)

/** The port of an interface, now: by one of its addresses alone, if `only` is given. */
export const portIn = (look: InterfaceTable, name: string, before: Port, only?: Gid.Gid): Port => {
  const all = gidsIn(look, name)
  const found = only === undefined ? all : new Set([...all].filter((gid) => gid === only))
  if (found.size === 0) return { isUp: false, gids: before.gids }
  const gids = before.gids.map((gid) => (gid !== undefined && found.has(gid) ? gid : undefined))
  for (const gid of found) {
    if (gids.includes(gid)) continue
    const free = gids.indexOf(undefined)
    gids[free < 0 ? gids.length : free] = gid
  }
  return { isUp: true, gids }
}

/** The identifiers that a port has now. */
export const entriesOf = ({ gids, isUp }: Port, name: string): ReadonlyArray<GidEntry> =>
  gids.flatMap((gid, index) =>
    isUp && gid !== undefined ? [{ index, gid, type: "iwarp" as const, interface: name }] : []
  )

/** Returns the events of the change from one state to the next. */
export const changes = (before: Port, after: Port): ReadonlyArray<DeviceEvent> => {
  const port = 1
  const events: Array<DeviceEvent> = []
  if (before.isUp !== after.isUp) events.push({ _tag: after.isUp ? "PortUp" : "PortDown", port })
  const indices = Math.max(before.gids.length, after.gids.length)
  for (let index = 0; index < indices; index++) {
    if (before.gids[index] !== after.gids[index]) events.push({ _tag: "GidChanged", port, index })
  }
  return events
}
