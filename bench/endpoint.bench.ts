/**
 * The handshake of two endpoints, against what it is built upon.
 */
import { byEndpoints, byNet, byServer } from "./endpoint/handshake.ts"
import type { Bench } from "./harness.ts"

export default {
  title: "endpoint: a handshake with its acknowledgement",
  notes: [
    "Both sides in one process, one handshake after the other, over loopback TCP. `net` is the bare",
    "work: two connections, JSON each way. `server` has frames, checks, deadlines and limits;",
    "`endpoints` also has two actors with their journals, which make and drain queue pairs."
  ].join(" "),
  contestants: { net: byNet, server: byServer, endpoints: byEndpoints },
  claims: [{ pair: ["handshake/server", "handshake/net"], bar: "<= 1.5" }]
} satisfies Bench
