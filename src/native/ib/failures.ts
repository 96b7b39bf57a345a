/** Failures of native calls as errors of verbs operations, with what to do about them. */
import { readFileSync } from "node:fs"
import { constants } from "node:os"
import {
  type CreateError,
  InvalidAttribute,
  LimitExceeded,
  Released,
  Unsupported
} from "../verbs/VerbsError.ts"
import type { NativeFailure } from "./library.ts"

const { errno } = constants

const nameOf = (number: number): string =>
  Object.entries(errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`

/** The call and the name of its errno. */
export const describe = (failure: NativeFailure): string =>
  `${failure.call}: ${nameOf(failure.errno)}`

/** No device could be listed or opened. */
export const openFailure = (device: string, failure: NativeFailure): Unsupported => {
  const { errno: number } = failure
  const because = describe(failure)
  const of = (feature: string, detail: string) =>
    new Unsupported({ provider: "ib", feature, detail: `${detail} (${because})` })
  if (number === errno.EACCES || number === errno.EPERM) {
    return of("permission", `${device} needs read and write access to /dev/infiniband/uverbs*`)
  }
  if (number === errno.ENOSYS || number === errno.ENODEV) return noDevices(because)
  return of("device", `${device} cannot be opened`)
}

/** There is no device at all. */
export const noDevices = (because = "the list is empty"): Unsupported =>
  new Unsupported({
    provider: "ib",
    feature: "RDMA device",
    detail:
      "load the driver of the NIC and ib_uverbs, or make a software device: " +
      `rdma link add rxe0 type rxe netdev eth0 (${because})`
  })

/** Bytes that this process may lock; Infinity without a limit. */
export const lockLimit = (limits = readFileSync("/proc/self/limits", "latin1")): number => {
  const soft = /^Max locked memory +(\d+)/m.exec(limits)?.[1]
  return soft === undefined ? Infinity : Number(soft)
}

/** Why there was nothing to call with any more, if that was so. */
export const releaseReason = ({ errno: number }: NativeFailure): Released["reason"] | undefined => {
  if (number === errno.ECANCELED) return "released"
  return number === errno.EIO || number === errno.ENODEV ? "device-removed" : undefined
}

/** A resource could not be created. `bytes` of memory are to be locked for it. */
export const createFailure = (
  device: string,
  kind: string,
  bytes: number,
  failure: NativeFailure
): CreateError => {
  const { errno: number } = failure
  const reason = releaseReason(failure)
  if (reason !== undefined) return new Released({ resource: kind, reason })
  const limit = lockLimit()
  if ((number === errno.ENOMEM || number === errno.EPERM) && Number.isFinite(limit)) {
    const resource = "bytes of locked memory (raise RLIMIT_MEMLOCK: ulimit -l, LimitMEMLOCK=)"
    return new LimitExceeded({ device, resource, limit, wanted: bytes })
  }
  if (number === errno.ENOMEM || number === errno.ENOSPC || number === errno.EAGAIN) {
    return new LimitExceeded({ device, resource: `${kind}s`, limit: 0, wanted: 1 })
  }
  const detail = describe(failure)
  return new InvalidAttribute({ operation: `new ${kind}`, attribute: "options", detail })
}
