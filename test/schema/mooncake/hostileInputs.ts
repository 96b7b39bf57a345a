/** Malformed messages that were tried against Mooncake; ten of them abort it. */

const plain = {
  local_gid: "00:00:00:00:00:00:00:00:00:00:ff:ff:0a:00:00:02",
  local_lid: 0,
  local_nic_path: "127.0.0.1:15103@fake0",
  payload: "",
  peer_nic_path: "127.0.0.1:15101@fake0",
  qp_num: [2001, 2002],
  ready_ack: false,
  reply_msg: ""
}
export const changed = (change: object): string => `${JSON.stringify({ ...plain, ...change })}\n`

/** What was sent to Mooncake, what became of it, and what becomes of it here. */
export const tried: ReadonlyArray<
  readonly [string, 0 | 1 | 2 | 3, string, "aborts" | "lives", string]
> = [
  ["array body", 0, "[]\n", "aborts", "Malformed"],
  ["string body", 0, '"x"\n', "aborts", "Malformed"],
  ["number body", 0, "5\n", "aborts", "Malformed"],
  ["object as path", 0, changed({ local_nic_path: {} }), "aborts", "Malformed"],
  ["strings as numbers", 0, changed({ qp_num: ["a"] }), "aborts", "Malformed"],
  ["digits as numbers", 0, changed({ qp_num: ["1"] }), "aborts", "Malformed"],
  ["negative number", 0, changed({ qp_num: [-1] }), "aborts", "Malformed"],
  ["number of 33 bits", 0, changed({ qp_num: [2 ** 32] }), "aborts", "Malformed"],
  ["deep nesting", 0, "[".repeat(2000) + "]".repeat(2000), "aborts", "BadJson"],
  ["notify array", 2, "[1]\n", "aborts", "Malformed"],
  ["null body", 0, "null\n", "lives", "ReceiverPathInvalid"],
  ["garbage", 0, "not json", "lives", "BadJson"],
  ["no text", 0, "", "lives", "BadJson"],
  ["fractions", 0, changed({ qp_num: [1.5, 2.001e3] }), "lives", "Request"],
  ["object of numbers", 0, changed({ qp_num: { a: 1, b: 2 } }), "lives", "Request"],
  ["scalar of numbers", 0, changed({ qp_num: 7 }), "lives", "Request"],
  ["text as LID", 0, changed({ local_lid: "x" }), "lives", "Request"],
  ["text as ready ACK", 0, changed({ ready_ack: "x" }), "lives", "Request"],
  ["number as payload", 0, changed({ payload: 5 }), "lives", "Request"],
  ["NUL in a name", 0, changed({ local_nic_path: "a:1@fa\u0000ke" }), "lives", "Request"],
  ["probe array", 3, "[]\n", "lives", "Malformed"],
  ["metadata garbage", 1, '{"x":[1,2]}\n', "lives", "Malformed"]
]
