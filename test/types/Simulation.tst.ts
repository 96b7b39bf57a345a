/**
 * Goal: a misspelt setting, option or kind of fault of a simulation does not compile (S3).
 * Method: type assertions, checked by `npm run check`.
 */
import * as Effect from "effect/Effect"
import { describe, expect, it } from "tstyche"
import type * as Process from "../../src/testing/Process.ts"
import { Faults, Sim } from "../../src/testing/index.ts"

declare const server: Process.Process<void, never>

describe("the settings of a simulation", () => {
  it("are known", () => {
    expect(Sim.explore).type.toBeCallableWith(Effect.void, { seeds: 5, ambient: "simulate" })
    expect(Sim.explore).type.not.toBeCallableWith(Effect.void, { seds: 5 })
    expect(Sim.explore).type.not.toBeCallableWith(Effect.void, { ambient: "simulated" })
  })
})

describe("faults", () => {
  it("strike a process by its name or its handle", () => {
    expect(Faults.random).type.toBeCallableWith({ crash: "server", pause: [server, "b"] })
    expect(Faults.random).type.not.toBeCallableWith({ crsh: "server" })
  })

  it("are of known kinds", () => {
    expect(Faults.random).type.not.toBeCallableWith({ journal: ["slwo"] })
    expect(Faults.random).type.toBeCallableWith({ fabric: { nodes: ["a"], kinds: ["Loss"] } })
    expect(Faults.random).type.not.toBeCallableWith({ fabric: { nodes: ["a"], kinds: ["Loos"] } })
    expect(Sim.process).type.not.toBeCallableWith("a", Effect.void, { onFailure: "stay-donw" })
  })
})
