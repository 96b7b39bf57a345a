/**
 * Goal: nodes find each other, stay with their own cluster, and say of others only what they have
 * seen themselves.
 * Method: real nodes on a network in memory and a virtual clock, among them scripted peers that
 * misbehave. Every frame that a node sends in any of these tests is looked at afterwards.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { NodeFlag } from "../../../src/schema/bus/Layout.ts"
import type { Extension } from "../../../src/schema/bus/Message.ts"
import { slotsOf } from "../../../src/schema/bus/Slots.ts"
import { membersOf } from "../../../src/actors/bus/internal/views.ts"
import { idOf, Network, nodeTimeoutMs, type TestNode } from "./network.ts"

const networks: Array<Network> = []

const network = (): Network => {
  const made = new Network()
  networks.push(made)
  return made
}

const port = (k: number): number => 7_000 + k

/** Nodes that have found each other through the first one, and take in no more. */
const mesh = (count: number) => {
  const net = network()
  let isOpen = true
  const admit = () => isOpen
  const nodes = Array.from({ length: count }, (_, k) => net.node(`n${k}`, port(k), { admit }))
  for (const node of nodes.slice(1)) node.node.seed(nodes[0]!.address)
  net.until("all are connected", () => isMesh(nodes))
  isOpen = false
  return { net, nodes }
}

const isMesh = (nodes: ReadonlyArray<TestNode>): boolean =>
  nodes.every((node) => nodes.every((other) => other === node || node.isConnectedTo(other)))

const at = (port: number) => ({ ip: "127.0.0.1", busPort: port })

describe("a cluster", () => {
  it("G25: is a mesh with one link each way, made by one dial for each peer", () => {
    const { net, nodes } = mesh(6)
    net.pass(10 * nodeTimeoutMs)
    assert.isTrue(isMesh(nodes))
    for (const { node, warnings } of nodes) {
      assert.strictEqual(node.table.links.size, 2 * (nodes.length - 1))
      assert.strictEqual(node.table.counts.dials, nodes.length - 1)
      assert.strictEqual(node.table.counts.framesDropped, 0)
      assert.deepStrictEqual(warnings, [])
    }
  })

  it("D25: is found again by ids through one peer that still answers", () => {
    const { net, nodes } = mesh(4)
    const [first, second] = nodes as [TestNode, TestNode, TestNode, TestNode]
    first.down(net)
    const back = net.node("n0", port(9))
    for (const [id, address] of first.kept) {
      back.node.recall(id, id === second.id ? address : at(9_999))
    }
    net.nodes.splice(0, 1)
    net.until("the node is back on its new port", () => isMesh([back, ...nodes.slice(1)]))
  })

  it("G8: notices that another node uses its id", () => {
    const { net, nodes } = mesh(3)
    nodes[0]!.down(net)
    const copies = [net.node("n0", port(10)), net.node("n0", port(11))]
    for (const copy of copies) {
      for (const [id, address] of nodes[0]!.kept) copy.node.recall(id, address)
    }
    net.nodes.splice(0, 1)
    const said = () => copies.some(({ node }) => node.table.sameIdAt !== undefined)
    net.until("one of them says so", said, 2 * nodeTimeoutMs)
  })
})

describe("a stranger", () => {
  it("D24, G4: that asks a member to take it in gets no answer, and its link is closed", () => {
    const { net, nodes } = mesh(2)
    const stranger = net.script("x", at(port(20)))
    const link = stranger.dial(nodes[0]!)
    link.say(stranger.heartbeat("Meet"))
    net.pass(nodeTimeoutMs)
    assert.isTrue(link.isClosed())
    assert.deepStrictEqual(stranger.received, [])
    assert.strictEqual(nodes[0]!.node.table.counts.strangersRefused, 1)
    assert.isUndefined(nodes[0]!.sees(stranger))
  })

  it("G4: is answered a PING without gossip, and is closed after a while", () => {
    const { net, nodes } = mesh(3)
    const stranger = net.script("x", at(port(20)))
    const link = stranger.dial(nodes[0]!)
    link.say(stranger.heartbeat("Ping"))
    const [pong] = stranger.received
    assert.deepInclude(pong, { _tag: "Pong", gossip: [], extensions: [] })
    net.pass(2 * nodeTimeoutMs)
    assert.isTrue(link.isClosed())
    assert.isUndefined(nodes[0]!.sees(stranger))
  })

  it("D26: acts on nobody: its FAIL, UPDATE, gossip and publications are dropped", () => {
    const { net, nodes } = mesh(2)
    const [first, second] = nodes as [TestNode, TestNode]
    const stranger = net.script("x", at(port(20)))
    const header = stranger.header()
    const bytes = new Uint8Array(1)
    const slots = slotsOf([[0, 100]])
    const gossip = [gossipOf("y", 21)]
    stranger
      .dial(first)
      .say(
        { _tag: "Fail", header, id: second.id },
        { _tag: "Update", header, configEpoch: 9n, id: second.id, slots },
        { _tag: "Publish", header, channel: bytes, message: bytes },
        { _tag: "Module", header, module: 0n, type: 0, payload: bytes },
        stranger.heartbeat("Ping", {}, { gossip })
      )
    assert.isFalse(first.sees(second)!.isFailed)
    assert.deepStrictEqual(first.node.table.slots.owners, [])
    assert.deepStrictEqual(first.publications, [])
    assert.strictEqual(first.node.table.members.size, 1)
  })

  it("is closed when it sends more than a handshake has", () => {
    const { net, nodes } = mesh(2)
    const stranger = net.script("x", at(port(20)))
    const link = stranger.dial(nodes[0]!)
    const { maxUnprovenFrames } = nodes[0]!.node.table.settings
    for (let k = 0; k <= maxUnprovenFrames; k++) link.say(stranger.heartbeat("Ping"))
    net.settle()
    assert.isTrue(link.isClosed())
    assert.strictEqual(stranger.received.length, maxUnprovenFrames)
  })

  it("G5: at the address of a seed or of a known peer learns nothing and is not asked in", () => {
    const net = network()
    const node = net.node("n0", port(0))
    const stranger = net.script("x", at(port(1)))
    node.node.recall(idOf("n1"), stranger.address)
    node.node.seed(stranger.address)
    net.pass(5 * nodeTimeoutMs)
    assert.isAbove(stranger.received.length, 1)
    for (const message of stranger.received) {
      assert.deepInclude(message, { _tag: "Ping", gossip: [], extensions: [] })
    }
    assert.isUndefined(node.sees(stranger))
    assert.strictEqual(node.warnings.join(), "another node answers at the address of a known one")
  })
})

const gossipOf = (name: string, k: number) => ({
  id: idOf(name),
  pingSent: 0,
  pongReceived: 0,
  ip: "127.0.0.1",
  port: 0,
  busPort: port(k),
  otherPort: 0,
  flags: NodeFlag.primary
})

/** A node and a scripted peer that it knows, with a connection of the peer. */
const withPeer = (settings: object = {}) => {
  const net = network()
  const node = net.node("n0", port(0), { settings })
  const peer = net.script("p", at(port(1)))
  const link = peer.dial(node)
  link.say(peer.heartbeat("Meet"))
  net.until("links lead both ways", () => node.isConnectedTo(peer))
  return { net, node, peer, link }
}

describe("meet", () => {
  it("G5: by a member asks a node of another cluster for nothing", () => {
    const { net, nodes } = mesh(2)
    const stranger = net.script("x", at(port(20)))
    const link = nodes[0]!.node.meet(stranger.address)
    net.pass(nodeTimeoutMs)
    assert.strictEqual(link.end, "OtherCluster")
    assert.deepStrictEqual(
      stranger.received.map((message) => [message._tag, "gossip" in message && message.gossip]),
      [["Ping", []]]
    )
    assert.isUndefined(nodes[0]!.sees(stranger))
  })

  it("by a member that admits a node takes it in", () => {
    const net = network()
    const admit = () => true
    const nodes = [0, 1, 2].map((k) => net.node(`n${k}`, port(k), { admit }))
    nodes[0]!.node.meet(nodes[1]!.address)
    net.until("two are connected", () => isMesh(nodes.slice(0, 2)))
    nodes[0]!.node.meet(nodes[2]!.address)
    net.until("all are connected", () => isMesh(nodes))
  })
})

describe("gossip", () => {
  it("of a member names nodes that are dialled, and known once they answer", () => {
    const { link, net, node, peer } = withPeer()
    const other = net.script("q", at(port(2)))
    link.say(peer.heartbeat("Ping", {}, { gossip: [gossipOf("q", 2)] }))
    net.pass(200)
    assert.isTrue(node.sees(other)!.isProven)
    assert.deepStrictEqual(
      membersOf(node.node.table).map(({ id }) => id),
      [peer.id, other.id]
    )
  })

  it("G19: of many names costs a bounded number of dials, and never a known node", () => {
    const { link, net, node, peer } = withPeer()
    const before = node.node.table.counts.dials
    for (let round = 0; round < 20; round++) {
      const gossip = Array.from({ length: 500 }, (_, k) => gossipOf(`f${round}.${k}`, 100 + k))
      link.say(peer.heartbeat("Ping", {}, { gossip }))
      assert.isAtMost(node.node.table.members.size, 17)
      net.pass(100)
    }
    assert.isAtMost(node.node.table.counts.dials - before, 16 * 12)
    assert.isTrue(node.isConnectedTo(peer))
    net.pass(4 * nodeTimeoutMs)
    assert.strictEqual(node.node.table.members.size, 1)
  })

  it("G19: of many ids at one address costs one name", () => {
    const { link, net, node, peer } = withPeer()
    const gossip = Array.from({ length: 50 }, (_, k) => gossipOf(`f${k}`, 100))
    link.say(peer.heartbeat("Ping", {}, { gossip }))
    net.settle()
    assert.strictEqual(node.node.table.members.size, 2)
  })

  it("G19: that names no IP address is not looked up, and a long name is not kept", () => {
    const { link, net, node, peer } = withPeer()
    const before = node.node.table.counts.dials
    const names = ["redis.example.com", "10.0.0.256", "::zz", "x".repeat(46)]
    const gossip = names.map((ip, k) => Object.assign(gossipOf(`f${k}`, 100), { ip }))
    const text = "h".repeat(256)
    link.say(peer.heartbeat("Ping", {}, { gossip, extensions: [{ _tag: "Hostname", text }] }))
    net.pass(300)
    assert.strictEqual(node.node.table.counts.dials, before)
    assert.isUndefined(node.sees(peer)!.hostname)
  })

  it("of a moved node is believed when that node answers there, and not before", () => {
    const { link, net, node, peer } = withPeer()
    const other = net.script("q", at(port(2)))
    link.say(peer.heartbeat("Ping", {}, { gossip: [gossipOf("q", 2)] }))
    net.pass(200)
    net.hosts.delete(`127.0.0.1:${port(2)}`)
    for (const end of other.ends) end.close()
    net.pass(200)
    const liar = net.script("x", at(port(30)))
    link.say(peer.heartbeat("Ping", {}, { gossip: [gossipOf("q", 30)] }))
    net.pass(200)
    assert.isAbove(liar.received.length, 0)
    assert.strictEqual(node.sees(other)!.address.busPort, port(2))
    net.script("q", at(port(31)))
    net.pass(500)
    link.say(peer.heartbeat("Ping", {}, { gossip: [gossipOf("q", 31)] }))
    net.pass(200)
    assert.deepStrictEqual(node.sees(other)!.address, at(port(31)))
    assert.deepStrictEqual(node.kept.get(other.id), at(port(31)))
  })

  it("G1: names no node that this one suspects, or that the cluster has given up", () => {
    const { link, net, node, peer } = withPeer()
    const other = net.script("q", at(port(2)))
    link.say(peer.heartbeat("Ping", {}, { gossip: [gossipOf("q", 2)] }))
    net.pass(500)
    link.say({ _tag: "Fail", header: peer.header(), id: other.id })
    other.answer = undefined
    peer.received.length = 0
    for (let k = 0; k < 30; k++) {
      net.pass(100)
      link.say(peer.heartbeat("Ping"))
    }
    assert.isTrue(node.sees(other)!.isSuspected)
    const told = peer.received.slice(-10).flatMap((m) => ("gossip" in m ? m.gossip : []))
    assert.notInclude(
      told.map(({ id }) => id),
      other.id
    )
  })
})

describe("suspicion", () => {
  it("comes after a node timeout of silence, and ends with the first frame", () => {
    const { net, nodes } = mesh(3)
    const [first, second] = nodes as [TestNode, TestNode]
    second.down(net)
    net.pass(nodeTimeoutMs / 2)
    assert.isFalse(first.sees(second)!.isSuspected)
    net.until("it is suspected", () => first.sees(second)!.isSuspected, nodeTimeoutMs)
    second.up(net)
    net.until("links lead both ways again", () => first.isConnectedTo(second))
    assert.isFalse(first.sees(second)!.isSuspected)
  })

  it("D22, G23: does not come from a pause of this process, however long", () => {
    const { net, nodes } = mesh(3)
    const [first, ...others] = nodes as [TestNode, TestNode, TestNode]
    net.pass(3 * nodeTimeoutMs, [first])
    net.until("all are connected again", () => isMesh(nodes))
    assert.strictEqual(first.suspected.size, 0)
    for (const other of others) assert.isTrue(other.suspected.has(first.id))
  })

  it("is told to users alone: no frame of a node says so", () => {
    const { net, nodes } = mesh(3)
    nodes[2]!.down(net)
    net.pass(3 * nodeTimeoutMs)
    assert.strictEqual(membersOf(nodes[0]!.node.table)[1]!.state, "suspected")
  })

  it("a peer that takes connections and says nothing is dialled again at its pace", () => {
    const { net, node, peer } = withPeer()
    peer.answer = undefined
    const before = node.node.table.counts.dials
    net.pass(10 * nodeTimeoutMs)
    const dials = node.node.table.counts.dials - before
    assert.isAtLeast(dials, 3)
    assert.isAtMost(dials, 15)
  })
})

describe("being forgotten", () => {
  /** Scripted peers that know the node, until they no longer send PINGs. */
  const withPeers = (count: number) => {
    const net = network()
    const node = net.node("n0", port(0), { admit: () => true, settings: { forgetMs: 3_000 } })
    const peers = Array.from({ length: count }, (_, k) => net.script(`p${k}`, at(port(k + 1))))
    const links = peers.map((peer) => {
      const link = peer.dial(node)
      link.say(peer.heartbeat("Meet"))
      return { peer, link, knowsUs: true }
    })
    const pass = (millis: number) => {
      for (let passed = 0; passed < millis; passed += 300) {
        for (const { knowsUs, link, peer } of links) {
          if (knowsUs && !link.isClosed()) link.say(peer.heartbeat("Ping"))
        }
        net.pass(300)
      }
    }
    pass(nodeTimeoutMs)
    /** Servers close the links of a node that they delete. */
    const forget = (entry: (typeof links)[number]) => {
      entry.knowsUs = false
      entry.link.close()
    }
    return { forget, links, net, node, pass }
  }

  it("G11: by all ends the membership: no link and no dial is left", () => {
    const { forget, links, net, node, pass } = withPeers(2)
    for (const peer of links) forget(peer)
    pass(2 * nodeTimeoutMs)
    assert.isTrue(node.isRemoved)
    const { dials } = node.node.table.counts
    pass(600_000)
    assert.strictEqual(node.node.table.counts.dials, dials)
    assert.strictEqual(node.node.table.links.size, 0)
    const [{ peer }] = links as [(typeof links)[number]]
    node.node.meet(peer.address)
    net.pass(3 * nodeTimeoutMs)
    assert.isTrue(node.sees(peer)!.outbound!.isProven)
    assert.isFalse(node.isRemoved)
  })

  it("G11: is not what a peer looks like that has slept and answers before it asks", () => {
    const { net, nodes } = mesh(2)
    const [first, second] = nodes as [TestNode, TestNode]
    net.pass(4 * nodeTimeoutMs, [second])
    net.pass(4 * nodeTimeoutMs)
    assert.isFalse(first.isRemoved)
    assert.isTrue(isMesh(nodes))
  })

  it("G11: is not what a peer looks like whose link to this node is broken without notice", () => {
    const { links, node, pass } = withPeers(1)
    links[0]!.knowsUs = false
    pass(5 * nodeTimeoutMs)
    assert.isFalse(node.isRemoved)
  })

  it("G11: is not what a peer looks like that cannot connect, and answers as to a member", () => {
    const { forget, links, node, pass } = withPeers(1)
    const [first] = links as [(typeof links)[number]]
    const { peer } = first
    const shard: Extension = { _tag: "ShardId", id: idOf("shard") }
    peer.answer = () => peer.heartbeat("Pong", {}, { extensions: [shard] })
    forget(first)
    pass(5 * nodeTimeoutMs)
    assert.isFalse(node.isRemoved)
    peer.answer = () => peer.heartbeat("Pong")
    pass(2 * nodeTimeoutMs)
    assert.isTrue(node.isRemoved)
  })

  it("G11, G12: is not what the only peer looks like that moved while this node was down", () => {
    const { net, nodes } = mesh(2)
    for (const node of nodes) node.down(net)
    net.nodes.length = 0
    const back = net.node("n0", port(0))
    const moved = net.node("n1", port(1), { ip: "127.0.0.2" })
    const [first, second] = nodes as [TestNode, TestNode]
    back.node.recall(second.id, second.address)
    moved.node.recall(first.id, first.address)
    net.until("links lead both ways", () => isMesh([back, moved]), nodeTimeoutMs)
    net.pass(2 * nodeTimeoutMs)
    assert.isFalse(back.isRemoved || moved.isRemoved)
  })

  it("G11: in an earlier life keeps the node away from its seeds, too", () => {
    const net = network()
    const node = net.node("n0", port(0))
    const peer = net.script("p", at(port(1)))
    node.node.stayAway()
    node.node.seed(peer.address)
    net.pass(5 * nodeTimeoutMs)
    assert.strictEqual(node.node.table.counts.dials, 0)
    node.node.meet(peer.address)
    net.pass(200)
    assert.isTrue(node.sees(peer)!.outbound!.isProven)
  })

  it("G11: by one is healed by a MEET to that one when its time is over", () => {
    const { forget, links, net, node, pass } = withPeers(2)
    const [first] = links
    forget(first!)
    pass(2 * nodeTimeoutMs)
    assert.isFalse(node.isRemoved)
    assert.isTrue(node.sees(first!.peer)!.hasForgottenUs)
    const meets = () => first!.peer.received.filter(({ _tag }) => _tag === "Meet").length
    assert.strictEqual(meets(), 0)
    pass(4_000)
    assert.isAtLeast(meets(), 1)
    first!.peer.dial(node).say(first!.peer.heartbeat("Ping"))
    net.settle()
    assert.isFalse(node.sees(first!.peer)!.hasForgottenUs)
  })

  it("G3: is told by an extension, too, of any member but its sender", () => {
    const { links, node } = withPeers(3)
    const [first, second] = links
    const say = (id: string) =>
      first!.link.say(
        first!.peer.heartbeat(
          "Ping",
          {},
          {
            extensions: [{ _tag: "ForgottenNode", id, seconds: 60n }]
          }
        )
      )
    say(first!.peer.id)
    assert.isDefined(node.sees(first!.peer))
    say(second!.peer.id)
    assert.isUndefined(node.sees(second!.peer))
    assert.include(node.warnings, "a node was forgotten")
    say(node.id)
    assert.isTrue(node.sees(first!.peer)!.hasForgottenUs)
  })

  it("G3: `forget` is local, and refuses slot owners and the node itself", () => {
    const { links, net, node } = withPeers(2)
    const [first, second] = links
    const slots = slotsOf([[0, 9]])
    first!.link.say(first!.peer.heartbeat("Ping", { slots, configEpoch: 1n }))
    assert.strictEqual(node.node.forget(first!.peer.id), "ownsSlots")
    assert.strictEqual(node.node.forget(node.id), "myself")
    assert.strictEqual(node.node.forget(idOf("z")), "unknown")
    assert.strictEqual(node.node.forget(second!.peer.id), "forgotten")
    net.settle()
    assert.isTrue(second!.link.isClosed())
  })
})

describe("a claim of slots", () => {
  it("G2: by an epoch out of reach is not taken, for whomever it is", () => {
    const { link, net, node, peer } = withPeer()
    const other = net.script("q", at(port(2)))
    link.say(peer.heartbeat("Ping", {}, { gossip: [gossipOf("q", 2)] }))
    net.pass(200)
    const slots = slotsOf([[0, 9]])
    link.say(peer.heartbeat("Ping", { currentEpoch: 5n, configEpoch: 5n, slots }))
    const owners = () => node.node.table.slots.owners
    const before = owners()
    const configEpoch = 2n ** 64n - 1n
    const more = slotsOf([[0, 99]])
    const header = peer.header({ currentEpoch: 5n })
    link.say(peer.heartbeat("Ping", { currentEpoch: 5n, configEpoch, slots: more }))
    link.say({ _tag: "Update", header, configEpoch, id: other.id, slots: more })
    assert.deepStrictEqual(owners(), before)
    assert.include(node.warnings, "a node claims an epoch out of reach")
  })
})

describe("the epoch of the cluster", () => {
  it.each([2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 64n - 1n])(
    "G2: is not taken from a node without slots, nor by a leap: %s",
    (currentEpoch) => {
      const { link, node, peer } = withPeer()
      const { table } = node.node
      link.say(peer.heartbeat("Ping", { currentEpoch }))
      assert.strictEqual(table.clusterEpoch, 0n)
      const slots = slotsOf([[0, 9]])
      link.say(peer.heartbeat("Ping", { currentEpoch: 5n, slots }))
      assert.strictEqual(table.clusterEpoch, 5n)
      link.say(peer.heartbeat("Ping", { currentEpoch, slots }))
      assert.strictEqual(table.clusterEpoch, 5n)
      assert.include(node.warnings, "a node claims an epoch out of reach")
      link.say(peer.heartbeat("Ping", { currentEpoch: 5n + 2n ** 32n, slots }))
      assert.strictEqual(table.clusterEpoch, 5n + 2n ** 32n)
    }
  )
})

afterAll(() => {
  // G1, G2, G3: what holds for every frame that any node sent in any test above.
  for (const { sent } of networks) {
    for (const { message } of sent) {
      assert.include(["Ping", "Pong", "Meet"], message._tag)
      if (!("gossip" in message)) continue
      assert.strictEqual(message.header.currentEpoch, 0n)
      assert.strictEqual(message.header.configEpoch, 0n)
      for (const { flags } of message.gossip) assert.strictEqual(flags & 0b1100, 0)
      for (const { _tag } of message.extensions) assert.strictEqual(_tag, "ShardId")
    }
  }
})
