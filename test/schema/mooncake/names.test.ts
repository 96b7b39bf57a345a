/**
 * Goal: paths of NICs and texts of GIDs are read and written as Mooncake does, and nothing else is.
 * Method: tables of the forms that occur and of near misses; properties over generated ones.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Gid from "../../../src/schema/Gid.ts"
import * as GidText from "../../../src/schema/mooncake/GidText.ts"
import * as NicPath from "../../../src/schema/mooncake/NicPath.ts"
import { failure, success } from "./vectors.ts"

const addressOf = (text: string) => success(NicPath.address(success(NicPath.parse(text))))

describe("a path of a NIC", () => {
  it.prop("is what it was after its text and back", [NicPath.NicPath], ([path]) => {
    const again = success(NicPath.parse(NicPath.print(path)))
    assert.deepStrictEqual(again, path)
    assert.isTrue(NicPath.equals(again, path))
    assert.isFalse(NicPath.equals({ ...again, nic: `${path.nic}x` }, path))
  })

  it("ends its server at the first at sign", () => {
    const path = success(NicPath.parse("host:1@a@b"))
    assert.deepStrictEqual(path, { server: "host:1", nic: "a@b" })
  })

  it("tells where its server listens, with Mooncake's port if it names none", () => {
    const addresses = [
      ["127.0.0.1:15101@fake0", "127.0.0.1", 15101],
      ["node-1.example@mlx5_0", "node-1.example", 12001],
      ["[fe80::1]:65535@n", "fe80::1", 65535],
      ["[::1]@n", "::1", 12001],
      ["::1@n", "::1", 12001],
      ["fe80::1%eth0@n", "fe80::1%eth0", 12001],
      ["[fe80::1%eth0]:1@n", "fe80::1%eth0", 1]
    ] as const
    for (const [text, host, port] of addresses) {
      assert.deepStrictEqual(addressOf(text), { host, port }, text)
    }
  })

  it("is made for an address, with brackets where they are needed", () => {
    for (const host of ["10.0.0.1", "::1", "fe80::1%eth0", "node"]) {
      const text = NicPath.print(NicPath.make("mlx5_0", { host, port: 7 }))
      assert.deepStrictEqual(addressOf(text), { host, port: 7 })
    }
    assert.deepStrictEqual(NicPath.make("n", { host: "::1", port: 7 }).server, "[::1]:7")
  })

  it("that is none is a fault with the text", () => {
    for (const text of ["", "nodelim", "@nic", "server@", "@"]) {
      assert.deepInclude({ ...failure(NicPath.parse(text)) }, { _tag: "BadNicPath", text })
    }
    assert.isBelow(failure(NicPath.parse("x".repeat(1e6))).text.length, 300)
  })

  it("may be a name for peers, and still none that can be dialled", () => {
    const servers = [
      "a:b",
      "a:0",
      "a:65536",
      "a:",
      ":1",
      "[nothing]:1",
      "[::1",
      "a:1:2",
      "a:99999999"
    ]
    for (const server of servers) {
      const path = success(NicPath.parse(`${server}@n`))
      assert.strictEqual(failure(NicPath.address(path)).text, server)
    }
  })
})

describe("a text of a GID", () => {
  const gid = "00000000000000000000ffff0a000001" as Gid.Gid
  const text = "00:00:00:00:00:00:00:00:00:00:ff:ff:0a:00:00:01"

  it.prop("has 47 characters, and is what it was after it and back", [Gid.Gid], ([gid]) => {
    const text = GidText.print(gid)
    assert.strictEqual(text.length, 47)
    assert.strictEqual(success(GidText.parse(text)), gid)
    assert.strictEqual(Schema.decodeSync(GidText.GidText)(text), gid)
    assert.strictEqual(Schema.encodeSync(GidText.GidText)(gid), text)
  })

  it("may have bytes of one digit, and digits of either case", () => {
    assert.strictEqual(GidText.print(gid), text)
    for (const other of [text, "0:0:0:0:0:0:0:0:0:0:ff:ff:a:0:0:1", text.toUpperCase()]) {
      assert.strictEqual(success(GidText.parse(other)), gid)
    }
  })

  it("that is none is a fault", () => {
    const bad = ["", "zz", text.slice(3), `${text}:00`, `${text}:`, text.replaceAll(":", "")]
    const odd = [text.replace("ff", "fff"), text.replace("ff", "fg"), text.replace("00", "")]
    for (const other of [...bad, ...odd, ` ${text.slice(1)}`, `${text.slice(1)}\n`]) {
      assert.strictEqual(failure(GidText.parse(other))._tag, "BadGid", other)
    }
  })
})
