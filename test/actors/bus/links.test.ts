/**
 * Goal: a link speaks for a node only after that node's first full frame, for one node only, and
 * no frame of an older link is applied after one of a newer link.
 * Method: scripted peers of one node on a network in memory, and a table of slot claims.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Message } from "../../../src/schema/bus/Message.ts"
import { slotsOf } from "../../../src/schema/bus/Slots.ts"
import { SlotTable } from "../../../src/actors/bus/internal/slotTable.ts"
import { linksOf, membersOf } from "../../../src/actors/bus/internal/views.ts"
import { canonicalIp } from "../../../src/actors/bus/internal/addresses.ts"
import { idOf, Network, nodeTimeoutMs } from "./network.ts"

const bytes = (text: string): Uint8Array => Buffer.from(text)
const light: Message = {
  _tag: "Publish",
  header: undefined,
  channel: bytes("news"),
  message: bytes("x")
}

/** Numbers below a bound, the same ones for each seed. */
const prng = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 16) % below
  }
}

/** A node that knows a scripted peer, and the peer's connection to it. */
const withPeer = (ip = "127.0.0.1") => {
  const net = new Network()
  const node = net.node("n", 7_000, { admit: () => true })
  const peer = net.script("p", { ip, busPort: 7_001 })
  const link = peer.dial(node)
  link.say(peer.heartbeat("Meet"))
  net.until("links lead both ways", () => node.isConnectedTo(peer))
  const texts = () => node.publications.map(({ message }) => Buffer.from(message).toString())
  return { link, net, node, peer, texts }
}

const publication = (text: string): Message => ({ ...light, message: bytes(text) }) as Message

describe("the gate of a link", () => {
  it("closes a link whose first frame is light", () => {
    const { net, node, peer } = withPeer()
    const link = peer.dial(node)
    link.say(light)
    net.settle()
    assert.isTrue(link.isClosed())
    assert.deepStrictEqual(node.publications, [])
  })

  it("opens with the first full frame of a known node, for light ones, too", () => {
    const { link, peer, texts, node } = withPeer()
    link.say(publication("a"), publication("b"))
    assert.deepStrictEqual(texts(), ["a", "b"])
    assert.strictEqual(node.publications[0]!.from, peer.id)
  })

  it("G12: closes a link whose sender changes, and takes nothing light after it", () => {
    const { link, net, node, texts } = withPeer()
    const other = net.script("q", { ip: "127.0.0.1", busPort: 7_002 })
    link.say(other.heartbeat("Ping"), publication("late"))
    net.settle()
    assert.isTrue(link.isClosed())
    assert.deepStrictEqual(texts(), [])
    assert.isUndefined(node.sees(other))
  })

  it("closes a link that stays silent for a node timeout", () => {
    const { net, node, peer } = withPeer()
    const link = peer.dial(node)
    net.pass(nodeTimeoutMs)
    assert.isFalse(link.isClosed())
    assert.strictEqual(node.node.table.counts.linksTimedOut, 0)
    net.pass(200)
    assert.isTrue(link.isClosed())
    assert.isTrue(node.isConnectedTo(peer))
    // G25: a deadline that was needed is seen, however well all goes on afterwards.
    assert.strictEqual(node.node.table.counts.linksTimedOut, 1)
  })

  it("takes a bounded number of links that have not shown whose they are", () => {
    const { net, node, peer } = withPeer()
    const { maxUnprovenLinks } = node.node.table.settings
    const links = Array.from({ length: maxUnprovenLinks + 4 }, () => peer.dial(node))
    net.settle()
    assert.strictEqual(links.filter((link) => link.isClosed()).length, 4)
  })

  it("closes a dial that leads to the node itself, and does not repeat it", () => {
    const net = new Network()
    const node = net.node("n", 7_000)
    node.node.seed(node.address)
    net.pass(10 * nodeTimeoutMs)
    assert.strictEqual(node.node.table.counts.dials, 1)
    assert.strictEqual(node.node.table.links.size, 0)
    assert.isUndefined(node.node.table.sameIdAt)
  })
})

describe("a second link of a peer", () => {
  it("G13: takes the place of the first, of which nothing is applied afterwards", () => {
    const { link: first, net, node, peer, texts } = withPeer()
    const second = peer.dial(node)
    first.say(publication("1"))
    second.send(peer.heartbeat("Ping"), publication("2"))
    first.send(publication("late"))
    second.send(publication("3"))
    net.settle()
    assert.isTrue(first.isClosed())
    assert.deepStrictEqual(texts(), ["1", "2", "3"])
  })

  it("G12: of a peer that has moved is taken within a second", () => {
    const { link, net, node, peer, texts } = withPeer("10.0.0.1")
    net.hosts.delete("10.0.0.1:7001")
    for (const end of peer.ends) end.close()
    link.close()
    const moved = net.script("p", { ip: "10.0.0.2", busPort: 7_005 })
    const back = moved.dial(node)
    back.say(moved.heartbeat("Ping"))
    net.pass(300)
    back.say(moved.heartbeat("Ping"), publication("back"))
    assert.deepStrictEqual(texts(), ["back"])
    assert.isTrue(node.isConnectedTo(peer))
    assert.deepStrictEqual(node.kept.get(peer.id), { ip: "10.0.0.2", busPort: 7_005 })
  })

  it("G12: of a node whose address another one has taken is not dialled", () => {
    const { net, node, peer } = withPeer()
    for (const end of peer.ends) end.close()
    // A reset gives a server a new id on its port.
    const renamed = net.script("q", peer.address)
    renamed.dial(node).say(renamed.heartbeat("Meet"))
    net.until("links lead both ways", () => node.isConnectedTo(renamed))
    const [ends, { dials }] = [renamed.ends.length, { ...node.node.table.counts }]
    net.pass(10 * nodeTimeoutMs)
    assert.strictEqual(renamed.ends.length, ends)
    assert.strictEqual(node.node.table.counts.dials, dials)
  })

  it("on another port moves the address when the peer answers there", () => {
    const { net, node, peer } = withPeer()
    net.hosts.delete("127.0.0.1:7001")
    for (const end of peer.ends) end.close()
    const moved = net.script("p", { ip: "127.0.0.1", busPort: 7_006 })
    moved.dial(node).say(moved.heartbeat("Ping"))
    net.pass(300)
    assert.strictEqual(node.sees(peer)!.address.busPort, 7_006)
  })
})

describe("an impostor, which speaks under the id of a peer (G12)", () => {
  const elsewhere = [
    ["another port", "10.0.0.1"],
    ["another address", "10.0.0.9"]
  ] as const

  /** A peer that goes on to send PINGs, and another script that speaks under its id. */
  const withImpostor = (ip = "10.0.0.9") => {
    const world = withPeer("10.0.0.1")
    const { link, net, node, peer } = world
    const impostor = net.script("i", { ip, busPort: 7_009 })
    const ping = (ip = "") => impostor.heartbeat("Ping", { sender: peer.id, ip })
    const forged = (): Message =>
      ({ ...publication("forged"), header: impostor.header({ sender: peer.id }) }) as Message
    impostor.answer = () => impostor.heartbeat("Pong", { sender: peer.id })
    /** Lets time pass while the peer is in order. */
    const goOn = (millis: number) => {
      for (let k = 0; k < millis; k += 200) {
        link.say(peer.heartbeat("Ping"))
        net.pass(200)
      }
    }
    const dials = () => node.node.table.counts.dials
    const assertUntouched = () => {
      assert.isFalse(link.isClosed())
      assert.strictEqual(node.sees(peer)!.address.ip, "10.0.0.1")
      assert.strictEqual(node.sees(peer)!.address.busPort, 7_001)
      assert.isTrue(node.isConnectedTo(peer))
      assert.isFalse(world.texts().includes("forged"))
      link.say(publication("true"))
      assert.strictEqual(world.texts().at(-1), "true")
    }
    return { ...world, impostor, ping, forged, goOn, dials, assertUntouched }
  }

  it.each(elsewhere)(
    "on %s ends no link, and is not even dialled while the peer is well",
    (_, ip) => {
      const { assertUntouched, dials, forged, goOn, impostor, node, ping } = withImpostor(ip)
      const before = dials()
      for (let k = 0; k < 20; k++) {
        impostor.dial(node).say(ping(), forged())
        goOn(200)
        assertUntouched()
      }
      assert.strictEqual(dials(), before)
      // It was told that the node is there, and nothing about the cluster.
      for (const message of impostor.received) assert.deepInclude(message, { gossip: [] })
    }
  )

  it("that names the peer's own address ends no link either", () => {
    const { assertUntouched, forged, goOn, impostor, node, peer, ping } = withImpostor()
    for (let k = 0; k < 10; k++) {
      const spoofed = impostor.heartbeat("Ping", {
        sender: peer.id,
        ip: "10.0.0.1",
        busPort: peer.address.busPort
      })
      impostor.dial(node).say(spoofed, forged(), ping())
      goOn(200)
      assertUntouched()
    }
  })

  it.each(elsewhere)(
    "on %s that took the place of a peer gives it back within a second",
    (_, ip) => {
      const { forged, impostor, link, net, node, peer, ping, texts } = withImpostor(ip)
      const place = net.hosts.get("10.0.0.1:7001")!
      net.hosts.delete("10.0.0.1:7001")
      for (const end of peer.ends.splice(0)) end.close()
      link.close()
      const claim = impostor.dial(node)
      claim.say(ping())
      net.pass(500)
      // Its answers are all that there is: a peer that has moved looks the same.
      assert.strictEqual(node.sees(peer)!.address.busPort, 7_009)
      net.hosts.set("10.0.0.1:7001", place)
      const back = peer.dial(node)
      back.say(peer.heartbeat("Ping"))
      net.pass(900)
      assert.isTrue(node.isConnectedTo(peer))
      assert.strictEqual(node.sees(peer)!.address.busPort, 7_001)
      assert.isTrue(claim.isClosed())
      for (let k = 0; k < 10; k++) {
        impostor.dial(node).say(ping(), forged())
        back.say(peer.heartbeat("Ping"))
        net.pass(200)
      }
      back.say(publication("true"))
      assert.deepStrictEqual(texts(), ["true"])
      assert.strictEqual(node.sees(peer)!.address.busPort, 7_001)
    }
  )

  it("with claims to places that do not answer keeps no peer out that has moved", () => {
    const { impostor, link, net, node, peer } = withImpostor()
    net.hosts.delete("10.0.0.9:7009")
    net.hosts.delete("10.0.0.1:7001")
    for (const end of peer.ends) end.close()
    link.close()
    for (let k = 0; k < 15; k++) {
      const ping = impostor.heartbeat("Ping", { sender: peer.id, busPort: 8_000 + k })
      impostor.dial(node).say(ping)
    }
    net.pass(100)
    const moved = net.script("p", { ip: "10.0.0.2", busPort: 7_005 })
    moved.dial(node).say(moved.heartbeat("Ping"))
    net.pass(500)
    assert.isTrue(node.isConnectedTo(peer))
    assert.strictEqual(node.sees(peer)!.address.ip, "10.0.0.2")
  })

  it("with idle connections keeps no peer out", () => {
    const { impostor, link, net, node, peer } = withImpostor()
    link.close()
    net.settle()
    for (let k = 0; k < 40; k++) impostor.dial(node)
    const back = peer.dial(node)
    back.say(peer.heartbeat("Ping"))
    net.settle()
    assert.isFalse(back.isClosed())
    assert.isTrue(node.isConnectedTo(peer))
  })

  it("and a peer that has moved look alike for a while, and the peer is found in the end", () => {
    const { link, net, node, peer } = withImpostor()
    net.hosts.delete("10.0.0.1:7001")
    // Its old connection looks alive, and the new one cannot be told from an impostor's.
    link.close()
    net.settle()
    const moved = net.script("p", { ip: "10.0.0.2", busPort: 7_005 })
    const back = moved.dial(node)
    back.say(moved.heartbeat("Ping"))
    net.pass(200)
    for (const end of peer.ends) end.close()
    net.script("q", peer.address)
    for (let k = 0; k < 5; k++) {
      back.say(moved.heartbeat("Ping"))
      net.pass(200)
    }
    assert.isTrue(node.isConnectedTo(peer))
    assert.strictEqual(node.sees(peer)!.address.ip, "10.0.0.2")
  })

  it("that changes what it claims on one connection loses it", () => {
    const { impostor, net, node, peer, ping } = withImpostor()
    const claim = impostor.dial(node)
    claim.say(ping(), impostor.heartbeat("Ping", { sender: peer.id, busPort: 8_000 }))
    net.settle()
    assert.isTrue(claim.isClosed())
  })
})

describe("the address of a peer", () => {
  it.each([
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["2001:DB8:0::0001", "2001:db8::1"],
    ["10.0.0.1", "10.0.0.1"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["", undefined],
    ["::zz", undefined],
    ["10.0.0.256", undefined],
    ["redis.example.com", undefined]
  ])("%s is the same however it is written", (text, canonical) => {
    assert.strictEqual(canonicalIp(text), canonical)
  })
})

describe("a publication", () => {
  it("goes to each peer in the form that it takes, and is counted", () => {
    const { link, net, node, peer } = withPeer()
    const other = net.script("q", { ip: "127.0.0.1", busPort: 7_002 })
    const entry = { id: other.id, pingSent: 0, pongReceived: 0, ip: "127.0.0.1", port: 0 }
    const gossip = [{ ...entry, busPort: 7_002, otherPort: 0, flags: 1 }]
    other.answer = () => other.heartbeat("Pong", { flags: 17 | 2_048 })
    link.say(peer.heartbeat("Ping", {}, { gossip }))
    net.pass(300)
    const publish = () => node.node.publish(bytes("news"), bytes("hello"))
    assert.deepStrictEqual(publish(), { taken: 2, full: 0, closed: 0 })
    net.settle()
    const [full, short] = [peer, other].map(({ received }) => received.at(-1)!)
    assert.strictEqual(full!.header?.sender, node.id)
    assert.strictEqual(short!._tag, "Publish")
    assert.isUndefined(short!.header)
    node.node.table.end(node.sees(peer)!.outbound!, "PingUnanswered")
    assert.deepStrictEqual(publish(), { taken: 1, full: 0, closed: 1 })
  })

  it("G20: leaves room for heartbeats in the queue of a slow peer, and the link stays", () => {
    const { net, node, peer } = withPeer()
    const { outbound } = node.sees(peer)!
    const kinds: Array<"heartbeat" | "publication"> = []
    let queued = 0
    outbound!.channel = {
      send: (bytes, spareBytes = 0) => {
        if (queued + bytes.length > 100_000 - spareBytes) return "full"
        kinds.push(spareBytes === 0 ? "heartbeat" : "publication")
        queued += bytes.length
        return "accepted"
      },
      close: () => {}
    }
    const publish = () => node.node.publish(bytes("news"), new Uint8Array(10_000))
    while (publish().taken === 1) assert.isBelow(queued, 100_000)
    assert.deepStrictEqual(publish(), { taken: 0, full: 1, closed: 0 })
    net.pass(nodeTimeoutMs / 2)
    assert.strictEqual(kinds.at(-1), "heartbeat")
    assert.strictEqual(node.sees(peer)!.outbound, outbound)
  })

  it("of a module is handed over with its type", () => {
    const { link, node, peer } = withPeer()
    const module = 0x0078_a5db_a126_eb6en
    link.say({ _tag: "Module", header: peer.header(), module, type: 7, payload: bytes("m") })
    const [publication] = node.publications
    assert.deepInclude(publication, { type: "module", moduleType: 7, from: peer.id })
  })
})

describe("what the cluster says", () => {
  it("D15: a FAIL is taken from a member, and ends with the node's next frame", () => {
    const { link, node, peer } = withPeer()
    link.say({ _tag: "Fail", header: peer.header(), id: peer.id })
    assert.strictEqual(membersOf(node.node.table)[0]!.state, "failed")
    link.say(peer.heartbeat("Ping"))
    assert.strictEqual(membersOf(node.node.table)[0]!.state, "connected")
    link.say({ _tag: "Fail", header: peer.header(), id: node.id })
    assert.isTrue(node.node.table.isCalledFailed)
  })

  it("G14: slots are not taken in this node's name, nor from replicas", () => {
    const { link, node, peer } = withPeer()
    const slots = slotsOf([[0, 9]])
    const header = peer.header()
    link.say({ _tag: "Update", header, configEpoch: 9n, id: node.id, slots })
    link.say(peer.heartbeat("Ping", { flags: 18, replicaOf: idOf("z"), slots, configEpoch: 9n }))
    assert.deepStrictEqual(node.node.table.slots.owners, [])
    assert.include(node.warnings, "a node claims slots in this node's name")
    link.say(peer.heartbeat("Ping", { slots, configEpoch: 9n }))
    assert.deepEqual(node.node.table.slots.owners, [{ slots: [0, 9], id: peer.id }])
  })

  it("shows one link each way, with its age", () => {
    const { net, node, peer } = withPeer()
    net.pass(1_000)
    const shown = linksOf(node.node.table)
    assert.deepStrictEqual(shown.map(({ direction }) => direction).toSorted(), ["from", "to"])
    for (const link of shown) assert.strictEqual(link.node, peer.id)
  })
})

describe("the owner of a slot (G14)", () => {
  const [a, b, c] = ["a", "b", "c"].map(idOf) as [string, string, string]
  const range = (first: number, last: number) => slotsOf([[first, last]])

  it("is the claim of the highest epoch; an equal one leaves it where it is", () => {
    const table = new SlotTable()
    assert.isTrue(table.claim(a, 1n, range(0, 16_383)))
    assert.isFalse(table.claim(b, 1n, range(0, 99)))
    assert.isTrue(table.claim(b, 2n, range(0, 99)))
    assert.isFalse(table.claim(a, 1n, range(0, 16_383)))
    assert.deepEqual(table.owners, [
      { slots: [0, 99], id: b },
      { slots: [100, 16_383], id: a }
    ])
  })

  it("moves with all its slots at once, and never leaves one without owner", () => {
    const table = new SlotTable()
    table.claim(a, 1n, range(0, 99))
    table.claim(a, 1n, new Uint8Array(2_048))
    assert.strictEqual(table.ownerOf(50), a)
    assert.isTrue(table.claim(b, 2n, range(0, 99)))
    assert.isFalse(table.claim(b, 2n, range(0, 99)))
    assert.deepEqual(table.owners, [{ slots: [0, 99], id: b }])
  })

  it.each([2n ** 53n, 2n ** 64n - 1n])("is told apart at epochs around %s", (epoch) => {
    const table = new SlotTable()
    table.claim(a, epoch - 1n, range(0, 9))
    assert.isTrue(table.claim(b, epoch, range(0, 9)))
    assert.isFalse(table.claim(c, epoch, range(0, 9)))
  })

  it("is nobody once the node is removed", () => {
    const table = new SlotTable()
    table.claim(a, 3n, range(0, 9))
    assert.isTrue(table.isOwner(a))
    assert.isTrue(table.remove(a))
    assert.isFalse(table.isOwner(a))
    assert.isTrue(table.claim(b, 1n, range(0, 9)))
  })

  it("is the same however often claims are repeated, and whoever is removed in between", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const next = prng(seed)
      const table = new SlotTable()
      const model = new Map<number, { id: string; epoch: () => bigint }>()
      const epochs = new Map([a, b, c].map((id) => [id, 0n]))
      const claims = [a, b, c].map((id) => ({ id, epoch: 0n, slots: new Set<number>() }))
      for (let step = 0; step < 60; step++) {
        const claim = claims[next(3)]!
        const { id } = claim
        if (next(8) === 0) {
          table.remove(id)
          epochs.set(id, 0n)
          for (const [slot, owner] of model) if (owner.id === id) model.delete(slot)
          continue
        }
        // Most claims repeat the last one.
        if (next(3) === 0) claim.epoch = BigInt(next(4))
        if (next(3) === 0) claim.slots = new Set([next(8), next(8), next(8)])
        epochs.set(id, claim.epoch > epochs.get(id)! ? claim.epoch : epochs.get(id)!)
        for (const slot of claim.slots) {
          const owner = model.get(slot)
          if (owner?.id === id || (owner !== undefined && owner.epoch() >= claim.epoch)) continue
          model.set(slot, { id, epoch: () => epochs.get(id)! })
        }
        table.claim(id, claim.epoch, slotsOf([...claim.slots].map((slot) => [slot, slot] as const)))
        for (let slot = 0; slot < 8; slot++) {
          assert.strictEqual(table.ownerOf(slot), model.get(slot)?.id, `seed ${seed}, ${step}`)
        }
      }
    }
  })
})
