/**
 * What a member of a cluster pays for the frames that others send it, against real servers.
 */
import type { Bench } from "./harness.ts"
import { decodeByView, decodeByWalk } from "./bus/codec.ts"
import { reconnect } from "./bus/storm.ts"
import { byNode, byServer, type Kind } from "./bus/receive.ts"

const kinds: ReadonlyArray<Kind> = ["full", "light", "ping"]

/** The three kinds, one after another: each with a node, or a server, of its own. */
const all = async (measure: (kind: Kind) => ReturnType<typeof byNode>) => {
  const outcomes = {}
  for (const kind of kinds) Object.assign(outcomes, await measure(kind))
  return outcomes
}

export default {
  title: "bus: main-thread CPU per publication received and per PING answered, codec",
  notes: [
    "Load comes from a member in another process, over one link, as fast as it is taken:",
    "publications of one byte on a channel of four, with a full header (2269 bytes) and with a",
    "light one (29 bytes), and PINGs without gossip, each answered by a PONG. One subscriber gets",
    "every publication: a stream in the node's process, or a client of the server. Redis 7.0 has",
    "no light header. `process` is the CPU of all threads, `rate` counts the bytes of frames.",
    "`storm`: 200 members in another process cut all links and dial at once over mutual TLS, with",
    "one worker; 400 handshakes, and a second try by either side fails the run.",
    "`codec` reads a publication in place, in batches of 64; the walk checks what a publication",
    "needs, and knows no other type."
  ].join(" "),
  timeout: 300,
  contestants: {
    node: () => all(byNode),
    valkey: () => all((kind) => byServer("valkey-server-8", kind)),
    redis: async () => ({
      ...(await byServer("redis-server", "full")),
      ...(await byServer("redis-server", "ping"))
    }),
    reconnect,
    view: decodeByView,
    walk: decodeByWalk
  },
  claims: [
    { pair: ["cpu-full/node", "cpu-full/valkey"], bar: "<= 0.5" },
    { pair: ["cpu-light/node", "cpu-light/valkey"], bar: "<= 1" },
    { pair: ["cpu-ping/node", "cpu-ping/valkey"], bar: "<= 1.5" },
    { figure: "delay-storm/reconnect", bar: "<= 20" },
    { figure: "up-storm/reconnect", bar: "<= 10" }
  ]
} satisfies Bench
