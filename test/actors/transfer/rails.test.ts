/**
 * Goal: what is learned of the ways to a peer chooses the next one; faults are put where they
 * belong, and a way without an alternative is never kept from trying.
 * Method: tables over a clock that is a number.
 */
import { assert, describe, it } from "@effect/vitest"
import { Backoff } from "../../../src/actors/link/Backoff.ts"
import { FaultWindow } from "../../../src/actors/link/FaultWindow.ts"
import {
  blameOf,
  RailCandidate,
  rankRails
} from "../../../src/actors/transfer/internal/railSelection.ts"
import { backoffOf, defaults } from "../../../src/actors/transfer/internal/settings.ts"
import { Status } from "../../../src/native/verbs/Completion.ts"

const window = () => new FaultWindow({ faults: 5, withinMs: 5_000, pauseMs: 30_000 })
const backoff = () => new Backoff(backoffOf(defaults), () => 0)

/** Rails between so many cards; those of equal number have equal names. */
const grid = (locals: number, remotes: number) =>
  Array.from({ length: locals * remotes }, (_, index) => {
    const [local, remote] = [Math.floor(index / remotes), index % remotes]
    const isPreferred = local === remote
    return new RailCandidate({ local, remote, isPreferred }, window(), backoff())
  })

class Scene {
  now = 0
  readonly rails: ReadonlyArray<RailCandidate>
  readonly locals = [0, 1].map(() => window())
  readonly remotes = [0, 1, 2, 3].map(() => window())
  readonly loads = [0, 0, 0, 0]
  /** How far each card of the peer is from the memory in question. */
  distances: ReadonlyArray<number> = []

  constructor(locals = 2, remotes = 2) {
    this.rails = grid(locals, remotes)
  }

  rail(local: number, remote: number): RailCandidate {
    return this.rails.find((one) => one.local === local && one.remote === remote)!
  }

  /** The order of all rails, or of those of one card. */
  order(local?: number): ReadonlyArray<string> {
    const some = this.rails.filter((one) => local === undefined || one.local === local)
    return rankRails(some, this.rails, {
      now: this.now,
      localHealth: (index) => this.locals[index]!,
      remoteHealth: (index) => this.remotes[index]!,
      load: (index) => this.loads[index]!,
      distance: (index) => this.distances[index] ?? 0
    }).map((one) => `${one.local}${one.remote}`)
  }
}

describe("the next rail", () => {
  it("R24: is one between cards of one name, then the one with the least load", () => {
    const scene = new Scene()
    assert.deepStrictEqual(scene.order(), ["00", "11", "01", "10"])
    assert.deepStrictEqual(new Scene(1, 2).order(), ["00", "01"])
    scene.loads[0] = 3
    assert.deepStrictEqual(scene.order(), ["11", "00", "01", "10"])
  })

  it("R24: is one to a card that is near to the memory, whatever its name and its load", () => {
    const scene = new Scene(1, 3)
    scene.distances = [2, 1, 0]
    scene.loads[2] = 9
    assert.deepStrictEqual(scene.order(), ["02", "01", "00"])
    // One that has worked is not better than an untried one that is nearer.
    scene.rail(0, 1).moved()
    assert.deepStrictEqual(scene.order(), ["02", "01", "00"])
    scene.distances = [0, 1, 1]
    assert.deepStrictEqual(scene.order(), ["00", "01", "02"])
  })

  it("R24: is none that is known as unreachable, however near its card is", () => {
    const scene = new Scene(1, 3)
    scene.distances = [0, 1, 2]
    scene.rail(0, 0).failed(0, true)
    scene.now = 1_000_000
    assert.deepStrictEqual(scene.order(), ["01", "02", "00"])
  })

  it("R24: after a failure is the next one, and the first again when all have failed", () => {
    const scene = new Scene(1, 4)
    scene.distances = [1, 0, 2, 0]
    const tried = Array.from({ length: 8 }, () => {
      const [next] = scene.order()
      const [, remote] = next!
      scene.rail(0, Number(remote)).failed(scene.now, true)
      scene.now += 1
      return Number(remote)
    })
    assert.deepStrictEqual(tried, [1, 3, 0, 2, 1, 3, 0, 2])
  })

  it("R24: is one that moved data before an untried one before one that failed", () => {
    const scene = new Scene()
    scene.rail(1, 0).moved()
    scene.rail(0, 0).failed(0, true)
    scene.now = 1_000_000
    assert.deepStrictEqual(scene.order(), ["10", "11", "01", "00"])
  })

  it("R24: two islands of cards are told apart after one attempt each", () => {
    const scene = new Scene()
    for (const local of [0, 1]) {
      assert.deepStrictEqual(scene.order(local)[0], `${local}${local}`)
      scene.rail(local, local).failed(scene.now, true)
      assert.deepStrictEqual(scene.order(local)[0], `${local}${1 - local}`)
      scene.rail(local, 1 - local).moved()
    }
    // A loss of what is known to work does not lead back to what is known to fail.
    scene.rail(0, 1).failed(scene.now, false)
    assert.deepStrictEqual(scene.order(0)[0], "01")
    // Only if it goes on failing.
    scene.rail(0, 1).failed(scene.now + 60_000, false)
    scene.now = 60_000
    assert.deepStrictEqual(scene.order(0)[0], "00")
  })
})

describe("a fault", () => {
  const faults = (health: FaultWindow, times: ReadonlyArray<number>) => {
    for (const time of times) health.fault(time)
  }

  it("R25: belongs to whom the status names", () => {
    const blamed = Object.fromEntries(Status.literals.map((status) => [status, blameOf(status)]))
    assert.deepStrictEqual(blamed, {
      success: "none",
      "local-length": "local",
      "local-operation": "local",
      "local-protection": "request",
      flushed: "none",
      "remote-access": "request",
      "remote-invalid": "peer",
      "remote-operation": "peer",
      "retry-exceeded": "rail",
      "rnr-retry-exceeded": "rail",
      fatal: "local"
    })
  })

  it("R25: of a card counts for all of its rails, of a rail for itself", () => {
    const scene = new Scene()
    faults(scene.locals[0]!, [0, 0, 0, 0, 0])
    assert.deepStrictEqual(scene.order(), ["11", "10"])
    faults(scene.remotes[1]!, [0, 0, 0, 0, 0])
    assert.deepStrictEqual(scene.order(), ["10"])
    scene.now = 30_000
    assert.strictEqual(scene.order().length, 4)
    faults(scene.rail(0, 0).health, [30_000, 30_000, 30_000, 30_000, 30_000])
    assert.deepStrictEqual(scene.order(), ["11", "01", "10"])
  })

  it("R12, H15: a rail without an alternative is never paused", () => {
    const scene = new Scene(1, 1)
    faults(scene.rail(0, 0).health, [0, 0, 0, 0, 0])
    assert.deepStrictEqual(scene.order(), ["00"])
    const islands = new Scene()
    for (const rail of islands.rails) faults(rail.health, [0, 0, 0, 0, 0])
    assert.strictEqual(islands.order().length, 4)
    // A rail that failed is no alternative.
    const half = new Scene(1, 2)
    half.rail(0, 1).failed(0, true)
    faults(half.rail(0, 0).health, [0, 0, 0, 0, 0])
    assert.deepStrictEqual(half.order(), ["00", "01"])
  })
})

describe("the wait after an attempt", () => {
  const waits = (count: number, isUnreachable: boolean) => {
    const [rail] = grid(1, 1)
    const all = Array.from({ length: count }, () => {
      rail!.failed(1000, isUnreachable)
      return Math.floor(rail!.notBefore - 1000)
    })
    return { all, rail }
  }

  it("R13: doubles up to a bound, and only data that moved resets it", () => {
    const { all, rail } = waits(9, false)
    assert.deepStrictEqual(all, [50, 100, 200, 400, 800, 1600, 3200, 4000, 4000])
    rail!.moved()
    rail!.failed(1000, false)
    assert.strictEqual(rail!.notBefore, 1050)
  })

  it("R13: grows by half if no work was lost, so that an outage is over soon", () => {
    const { all } = waits(14, true)
    assert.deepStrictEqual(all.slice(0, 5), [50, 75, 112, 168, 253])
    assert.deepStrictEqual(all.slice(-3), [4000, 4000, 4000])
  })

  it("R13: so there are few attempts within ten seconds", () => {
    const [rail] = grid(1, 1)
    let attempts = 0
    for (let now = 0; now < 10_000; now++) {
      if (now < rail!.notBefore) continue
      attempts += 1
      rail!.failed(now, false)
    }
    assert.strictEqual(attempts, 8)
  })
})
