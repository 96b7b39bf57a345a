/**
 * Seeded simulation, fault plans and checkers for any Effect program. No test framework is needed;
 * `handfast/testing/vitest` adds `it.sim`.
 */
export * as Chaos from "../actors/kernel/Chaos.ts"
export * as FaultPlan from "./FaultPlan.ts"
export * as Faults from "./Faults.ts"
export * as FaultyJournal from "./FaultyJournal.ts"
export * as History from "./History.ts"
export * as Linearizability from "./Linearizability.ts"
export * as Preemption from "./Preemption.ts"
export * as Printout from "./Printout.ts"
export * as SavedRun from "./SavedRun.ts"
export * as Sim from "./Sim.ts"
export * as SimError from "./SimError.ts"
