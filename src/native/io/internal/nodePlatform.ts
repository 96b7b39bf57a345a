/** The platform of a thread of Node: its own sockets, timers and modules. */
import { loadFramer } from "./loadFramer.ts"
import type { Platform, Timers } from "./platform.ts"
import * as sockets from "./sockets.ts"

export const nodeTimers: Timers = {
  now: () => performance.now(),
  sharedNanos: () => process.hrtime.bigint(),
  after: (millis, act) => {
    const timer = setTimeout(act, millis)
    return () => clearTimeout(timer)
  },
  every: (millis, act) => {
    const timer = setInterval(act, millis).unref()
    return () => clearInterval(timer)
  },
  nextTurn: (act) => void setImmediate(act),
  atEnd: (act) => process.nextTick(act)
}

export const nodePlatform: Platform = {
  sockets,
  timers: nodeTimers,
  prepare: (job, prepared, failed) => {
    const isPlainServer = job.kind === "listen" && job.tls === undefined
    Promise.all([loadFramer(job.framer), isPlainServer ? sockets.rereads() : false]).then(
      ([framer, rereads]) => prepared({ framer, rereads }),
      failed
    )
  }
}
