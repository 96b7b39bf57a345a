/**
 * The provider through libibverbs, beside the programs that measure RDMA devices.
 */
import type { Bench } from "./harness.ts"
import { byIb } from "./ib/byIb.ts"
import { byPerftest, byPingpong } from "./ib/byTools.ts"

export default {
  title: "ib: writes into a peer's memory and short messages, on an RDMA device",
  notes: [
    "Two processes on one machine with an RDMA device; without a NIC, in a virtual machine with",
    "soft-RoCE, whose times are emulated, so that only the ratios count. All of them poll.",
    "`perftest` is `ib_write_bw`, `ib_write_lat` and `ib_send_lat`, `pingpong` is",
    "`ibv_rc_pingpong`. A latency is half a round trip of 8 bytes."
  ].join(" "),
  timeout: 120,
  contestants: { ib: byIb, perftest: byPerftest, pingpong: byPingpong },
  claims: [
    { pair: ["write-64k/ib", "write-64k/perftest"], bar: ">= 0.9" },
    { pair: ["write-1m/ib", "write-1m/perftest"], bar: ">= 0.9" },
    { pair: ["write-latency/ib", "write-latency/perftest"], bar: "<= 1.5" },
    { pair: ["send-latency/ib", "send-latency/perftest"], bar: "<= 1.5" },
    { pair: ["send-latency/ib", "send-latency/pingpong"], bar: "<= 1.5" }
  ]
} satisfies Bench
