/**
 * Goal: a publication on a channel of a shard goes to the nodes that serve its slot, and to no
 * other.
 * Method: scripted primaries and a replica on a network in memory; slots that servers give by
 * CLUSTER KEYSLOT.
 */
import { assert, describe, it } from "@effect/vitest"
import { slotOf, slotsOf } from "../../../src/schema/bus/Slots.ts"
import { idOf, Network, type Script } from "./network.ts"

const bytes = (text: string): Uint8Array => Buffer.from(text)

describe("the slot of a channel", () => {
  it.each([
    ["123456789", 12_739],
    ["foo", 12_182],
    ["bar", 5_061],
    ["hello", 866],
    ["foo{}{bar}", 8_363],
    ["", 0]
  ] as const)("%j is %i", (channel, slot) => assert.strictEqual(slotOf(bytes(channel)), slot))

  it("is that of the first part in braces, unless that is empty", () => {
    const same = (a: string, b: string) => slotOf(bytes(a)) === slotOf(bytes(b))
    assert.isTrue(same("x{foo}y{bar}", "foo"))
    assert.isTrue(same("{{foo}}", "{foo"))
    for (const text of ["foo{}{bar}", "foo{bar", "foo}bar{"]) {
      assert.isFalse(same(text, "bar"), text)
      assert.isFalse(same(text, "foo"), text)
    }
  })
})

describe("a publication on a channel of a shard", () => {
  const cluster = () => {
    const net = new Network()
    const node = net.node("n", 7_000, { admit: () => true })
    const peers = ["owner", "replica", "kin", "other"].map((name, k) =>
      net.script(name, { ip: "127.0.0.1", busPort: 7_001 + k })
    ) as [Script, Script, Script, Script]
    const shard = [{ _tag: "ShardId" as const, id: idOf("shard") }]
    const [owner, replica, kin, other] = peers
    const halves = [slotsOf([[8_192, 16_383]]), slotsOf([[0, 8_191]])]
    const claims: ReadonlyArray<[Script, object, object]> = [
      [owner, { slots: halves[0] }, { extensions: shard }],
      [replica, { flags: 18, replicaOf: owner.id, slots: halves[0] }, {}],
      [kin, {}, { extensions: shard }],
      [other, { slots: halves[1] }, {}]
    ]
    for (const [peer, header, rest] of claims) {
      peer.answer = () => peer.heartbeat("Pong", header, rest)
      peer.dial(node).say(peer.heartbeat("Meet", header, rest))
      net.until("links lead both ways", () => node.isConnectedTo(peer))
    }
    const heard = () =>
      peers
        .filter(({ received }) => received.some(({ _tag }) => _tag === "PublishShard"))
        .map(({ id }) => id)
    return { heard, kin, net, node, other, owner, replica }
  }

  it("goes to the owner of its slot, to replicas, and to nodes with the owner's shard", () => {
    const { heard, kin, net, node, owner, replica } = cluster()
    const result = node.node.publishShard(bytes("foo"), bytes("x"))
    net.settle()
    assert.deepStrictEqual(result, { taken: 3, full: 0, closed: 0 })
    assert.deepStrictEqual(heard(), [owner.id, replica.id, kin.id])
  })

  it("goes to the owner alone where no other node serves the slot", () => {
    const { heard, net, node, other } = cluster()
    assert.strictEqual(node.node.publishShard(bytes("bar"), bytes("x")).taken, 1)
    net.settle()
    assert.deepStrictEqual(heard(), [other.id])
  })

  it("is taken by no node while the slot has no owner", () => {
    const net = new Network()
    const node = net.node("n", 7_000)
    const peer = net.script("p", { ip: "127.0.0.1", busPort: 7_001 })
    peer.dial(node).say(peer.heartbeat("Meet"))
    net.until("links lead both ways", () => node.isConnectedTo(peer))
    const result = node.node.publishShard(bytes("foo"), bytes("x"))
    assert.deepStrictEqual(result, { taken: 0, full: 0, closed: 0 })
  })
})
