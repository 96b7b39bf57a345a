/**
 * The handshake of two endpoints, against what it is built upon.
 */
import { byEndpoints, byNet, byServer } from "./endpoint/handshake.ts"
import { byEngine, byProvider, healing, waiting } from "./endpoint/moving.ts"
import { storms } from "./endpoint/storm.ts"
import type { Bench } from "./harness.ts"

export default {
  title: "endpoint: a handshake with its acknowledgement, alone and in a storm",
  notes: [
    "Both sides in one process, one handshake after the other, over loopback TCP. `net` is the",
    "bare work: two connections, JSON each way. `server` has frames, checks, deadlines and limits;",
    "`endpoints` also has two actors with their journals, which make queue pairs, until a link is",
    "open; their end is not counted. The",
    "storms are 240 and 1,000 peers that begin anew at once, against one host with real endpoints;",
    "`disturbed` has a client besides that is silent and one that drips, in turns with `quiet`.",
    "`engine` moves memory to another process over software iWARP, as `provider` does alone,",
    "which hears only in the end that all is in place; `waiting` is for a peer that takes",
    "connections and says nothing, `healed` the time to the first bytes after a cut."
  ].join(" "),
  contestants: {
    net: byNet,
    server: byServer,
    endpoints: byEndpoints,
    storm: storms,
    provider: byProvider,
    engine: async () => ({ ...(await byEngine()), ...(await waiting()), ...(await healing()) })
  },
  claims: [
    { pair: ["handshake/server", "handshake/net"], bar: "<= 1.5" },
    { pair: ["handshake/endpoints", "handshake/net"], bar: "<= 2.5" },
    { pair: ["write-64k/engine", "write-64k/provider"], bar: ">= 0.9" },
    { figure: "waiting/engine", bar: "<= 1" },
    { pair: ["p99-240-disturbed/storm", "p99-240-quiet/storm"], bar: "<= 1.2" },
    { pair: ["p99-1000-disturbed/storm", "p99-1000-quiet/storm"], bar: "<= 1.2" }
  ]
} satisfies Bench
