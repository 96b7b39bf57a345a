/**
 * The cost of a work request through koffi, against the same loop in C.
 */
import { byC, byProvider, byRawCalls } from "./ffi/loops.ts"
import type { Bench } from "./harness.ts"

export default {
  title: "ffi: a write and its completion, handed to a verbs driver and back",
  notes: [
    "The driver is a stand-in that the bench compiles (`bench/ffi/stub.c`): it decodes the work",
    "request and answers at once, so what remains is the way there. `c` is the loop in C, `koffi`",
    "the bare calls with a request that is filled by hand, `provider` a post and a poll of",
    "`handfast/verbs/Ib`, which counts places, checks memory and takes the request's fields."
  ].join(" "),
  contestants: { c: byC, koffi: byRawCalls, provider: byProvider },
  claims: [
    { pair: ["write/koffi", "write/c"], bar: "<= 20" },
    { pair: ["write/provider", "write/koffi"], bar: "<= 8" }
  ]
} satisfies Bench
