/** The journal in a file against `node:sqlite` by hand: storing together, and reading back. */
import type { Bench } from "./harness.ts"
import { appendRaw, replayRaw, replayRawAlone } from "./journal/raw.ts"
import { halfLoad } from "./journal/halfLoad.ts"
import { replay, replayAlone, throughActor, throughService, together } from "./journal/service.ts"

const EVENTS = 200_000
const HISTORY = 100

export default {
  title: "Journal: a thousand actors store and recover, against node:sqlite by hand",
  notes:
    "Every event has 150 bytes; every commit is flushed to the disk. `service` is a thousand " +
    "fibers that append one event after the other through the Journal service; `actors` is a " +
    "thousand actors that are asked and answer when their event is stored. `raw` commits a " +
    "thousand rows at once, from the main thread, into a table keyed by actor and sequence " +
    "number, with no check of writer or place and no checksum; `raw-log` into one without any " +
    "key, where no history can be found again. `delay` is the 99th percentile of the event " +
    "loop's delay while events are stored, with the millisecond of its own timer. `p99` is the " +
    "99th percentile of the time from when a command is due to its answer, which says that its " +
    "event is stored, at half of the rate that the same actors reach at most; commands are due " +
    "at even distances, whether or not earlier ones are answered. `replay` reads " +
    "and parses one history alone, `recover` the histories of a thousand actors that were " +
    "stored together, 50 at a time.",
  contestants: {
    service: async () => ({
      ...(await together(throughService, EVENTS)),
      replay: await replayAlone(EVENTS),
      recover: await replay(HISTORY, EVENTS)
    }),
    actors: () => together(throughActor, EVENTS),
    "half-load": () => halfLoad(EVENTS),
    "raw-log": async () => ({ append: await appendRaw("log", EVENTS) }),
    raw: async () => ({
      append: await appendRaw("keyed", EVENTS),
      replay: await replayRawAlone(EVENTS),
      recover: await replayRaw(HISTORY, EVENTS)
    })
  },
  claims: [
    { pair: ["append/service", "append/raw"], bar: ">= 1.5" },
    { pair: ["append/actors", "append/raw"], bar: ">= 0.7" },
    { pair: ["replay/service", "replay/raw"], bar: ">= 0.7" },
    { pair: ["recover/service", "recover/raw"], bar: ">= 0.5" },
    { figure: "delay/service", bar: "<= 5" },
    { figure: "delay/actors", bar: "<= 5" },
    { figure: "p99/half-load", bar: "<= 5" }
  ]
} satisfies Bench
