/**
 * Goal: a port stays open to new connections whatever silent peers do, and its accounts hold.
 * Method: tables of arrivals; then random steps against a plain list.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConnectionLimiter } from "../../../src/native/io/ConnectionLimiter.ts"

describe("ConnectionLimiter", () => {
  it("L5: lets the oldest idle connection give way", () => {
    const port = new ConnectionLimiter<string>({ connections: 3, perAddress: 3 })
    for (const name of ["a", "b", "c"]) assert.isUndefined(port.admit(name, name))
    port.setBusy("a")
    assert.strictEqual(port.admit("d", "d"), "b")
    assert.strictEqual(port.admit("e", "e"), "c")
    port.setIdle("a")
    assert.strictEqual(port.admit("f", "f"), "d")
    assert.strictEqual(port.size, 3)
  })

  it("L5: refuses the new connection only when no other may give way", () => {
    const port = new ConnectionLimiter<string>({ connections: 2, perAddress: 2 })
    for (const name of ["a", "b"]) {
      port.admit(name, name)
      port.setBusy(name)
    }
    assert.strictEqual(port.admit("c", "c"), "c")
    port.release("a")
    assert.isUndefined(port.admit("c", "c"))
  })

  it("L5: one address that has its share makes only its connections give way", () => {
    const port = new ConnectionLimiter<string>({ connections: 100, perAddress: 2 })
    for (const name of ["other", "a1", "a2"]) {
      assert.isUndefined(port.admit(name, name.slice(0, 1)))
    }
    assert.strictEqual(port.admit("a3", "a"), "a1")
    assert.strictEqual(port.admit("a4", "a"), "a2")
    port.setBusy("a3")
    port.setBusy("a4")
    assert.strictEqual(port.admit("a5", "a"), "a5")
    assert.isUndefined(port.admit("b1", "b"))
  })

  it("L5: never names a connection that it counts no more", () => {
    const port = new ConnectionLimiter<string>({ connections: 1, perAddress: 1 })
    port.admit("a", "a")
    port.setBusy("a")
    port.release("a")
    // Its work ends after the connection itself.
    port.setIdle("a")
    assert.isUndefined(port.admit("b", "b"))
    assert.strictEqual(port.admit("c", "c"), "b")
    assert.strictEqual(port.size, 1)
  })

  it("L5: counts as a list does, under 20,000 random steps", () => {
    let state = 7
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const port = new ConnectionLimiter<number>({ connections: 8, perAddress: 3 })
    let open: Array<{ name: number; address: string; idle: boolean }> = []
    for (let name = 0; name < 20_000; name++) {
      const address = String(random(5))
      const same = open.filter((one) => one.address === address)
      const full = same.length >= 3 ? same : open.length >= 8 ? open : []
      const expected = full.length === 0 ? undefined : (full.find((one) => one.idle)?.name ?? name)
      assert.strictEqual(port.admit(name, address), expected)
      open = open.filter((one) => one.name !== expected)
      if (expected !== name) open.push({ name, address, idle: true })
      const one = open[random(open.length)]
      if (one !== undefined) {
        const step = random(3)
        if (step === 0) open = open.filter((other) => other !== one)
        // A connection that becomes idle again is the youngest of them.
        else if (step === 1) open = [...open.filter((o) => o !== one), { ...one, idle: false }]
        if (step === 0) port.release(one.name)
        else if (step === 1) port.setBusy(one.name)
      }
      assert.strictEqual(port.size, open.length)
    }
  })
})
