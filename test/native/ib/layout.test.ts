/**
 * Goal: every offset, size and constant of the table is that of the installed headers.
 * Method: a C program is generated from the table and compiled against the headers; it prints what
 * they say. Not run without a compiler or the headers. A table with one wrong entry is noticed.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { constants, offsets, sizes } from "../../../src/native/ib/layout.ts"
import { peer } from "../../peers.ts"

/** Names of the table, and expressions of C for them. */
const expressions: ReadonlyArray<readonly [name: string, expression: string, value: number]> = [
  ...Object.entries(sizes).map(
    ([struct, size]) => [`sizeof ${struct}`, `sizeof(struct ${struct})`, size] as const
  ),
  ...Object.entries(offsets).flatMap(([struct, fields]) =>
    Object.entries(fields).map(
      ([field, offset]: [string, number]) =>
        [`${struct}.${field}`, `offsetof(struct ${struct}, ${field})`, offset] as const
    )
  ),
  ...Object.entries(constants).map(([name, value]) => [name, name, value] as const)
]

const source = [
  "#include <stddef.h>",
  "#include <stdio.h>",
  "#include <netinet/in.h>",
  "#include <infiniband/verbs.h>",
  "#include <rdma/rdma_cma.h>",
  "int main(void) {",
  ...expressions.map(([, expression]) => `  printf("%ld\\n", (long)(${expression}));`),
  "  return 0;",
  "}"
].join("\n")

/** The value of each expression. */
const compiled = (): ReadonlyArray<number> => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-layout-"))
  try {
    const program = join(folder, "program")
    writeFileSync(`${program}.c`, source)
    execFileSync("gcc", ["-o", program, `${program}.c`])
    const lines = execFileSync(program).toString().trim().split("\n")
    return lines.map(Number)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Entries that differ from the headers. */
const differences = (
  table: ReadonlyArray<readonly [string, string, number]>,
  values: ReadonlyArray<number>
): ReadonlyArray<string> =>
  table.flatMap(([name, , value], index) => (value === values[index] ? [] : [name]))

const headers = ["/usr/include/infiniband/verbs.h", "/usr/include/rdma/rdma_cma.h"] as const

peer(["gcc", ...headers], "the layout of libibverbs and librdmacm", () => {
  const values = compiled()

  it("is that of the headers", () => {
    assert.isAbove(expressions.length, 200)
    assert.deepStrictEqual(differences(expressions, values), [])
  })

  it("is noticed when one entry is wrong", () => {
    const wrong = expressions.map(([name, expression, value], index) =>
      index === 17 ? ([name, expression, value + 1] as const) : ([name, expression, value] as const)
    )
    assert.deepStrictEqual(differences(wrong, values), [expressions[17]![0]])
  })
})

describe("fields that a 64-bit write would split", () => {
  it("pointers lie on multiples of eight bytes", () => {
    const { ibv_recv_wr: receive, ibv_send_wr: send } = offsets
    for (const at of [send.next, send.sg_list, receive.next, receive.sg_list]) {
      assert.strictEqual(at % 8, 0)
    }
  })
})
