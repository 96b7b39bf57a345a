/**
 * Counts the faults that had an effect over a set of runs: a fault that never has one tests
 * nothing.
 */
import type { Fault } from "../../FaultPlan.ts"

/** How often faults of one kind were planned, and how often one of them had an effect. */
export interface Strikes {
  planned: number
  struck: number
}

/** The kind under which a fault counts. A chaos site is named by the program, not by the test. */
const sortOf = (fault: Fault): string | undefined => {
  switch (fault._tag) {
    case "Crash":
    case "Pause":
    case "Skew":
      return `${fault._tag.toLowerCase()} of ${fault.process}`
    case "Journal":
      // The draw chooses the operations, and a program need not have all of them.
      return "journal"
    case "Fabric":
      return `fabric fault of ${"node" in fault.fault ? fault.fault.node : fault.fault.from}`
    case "Site":
      return undefined
  }
}

/** Adds the faults of one run. */
export const addStrikes = (
  all: Map<string, Strikes>,
  plan: ReadonlyArray<Fault>,
  struck: ReadonlySet<Fault>
): void => {
  for (const fault of plan) {
    const sort = sortOf(fault)
    if (sort === undefined) continue
    const strikes = all.get(sort) ?? { planned: 0, struck: 0 }
    strikes.planned++
    if (struck.has(fault)) strikes.struck++
    all.set(sort, strikes)
  }
}
