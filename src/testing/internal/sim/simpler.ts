/** Simpler forms of the parts of a failing run: faults, preemptions. */
import type { FabricFault } from "../../../native/sim/FabricFault.ts"
import type { Fault, Moment } from "../../FaultPlan.ts"
import type { Preemption } from "../../Preemption.ts"

const halve = (value: number): ReadonlyArray<number> =>
  value >= 1 ? [...new Set([0, Math.floor(value / 2), Math.ceil(value) - 1])] : []

const earlier = (at: Moment): ReadonlyArray<Moment> =>
  "step" in at
    ? halve(at.step).map((step) => ({ step }))
    : halve(at.millis).map((millis) => ({ millis }))

/** The same fault with shorter times. */
const simplerFabric = (fault: FabricFault): ReadonlyArray<FabricFault> => {
  const forms: Array<FabricFault> = []
  if ("forMillis" in fault) {
    for (const forMillis of halve(fault.forMillis)) forms.push({ ...fault, forMillis })
  }
  if ("millis" in fault) for (const millis of halve(fault.millis)) forms.push({ ...fault, millis })
  return forms
}

/** One copy of a fault for each value of one of its fields. */
const vary = <F extends Fault, K extends keyof F>(
  fault: F,
  key: K,
  values: ReadonlyArray<F[K]>
): Array<F> => {
  const forms: Array<F> = []
  for (const value of values) forms.push({ ...fault, [key]: value })
  return forms
}

/** Simpler forms of one fault, simplest first. */
export const simplerFault = (fault: Fault): ReadonlyArray<Fault> => {
  switch (fault._tag) {
    case "Crash":
      return [
        ...vary(fault, "at", earlier(fault.at)),
        ...vary(fault, "restartAfter", halve(fault.restartAfter ?? 0))
      ]
    case "Pause":
      return [
        ...vary(fault, "at", earlier(fault.at)),
        ...vary(fault, "forMillis", halve(fault.forMillis))
      ]
    case "Skew":
      return [
        ...vary(fault, "rate", fault.rate === 1 ? [] : [1]),
        ...vary(fault, "jumpMillis", fault.jumpMillis === 0 ? [] : [0]),
        ...vary(fault, "at", earlier(fault.at))
      ]
    case "Journal":
      return [
        ...vary(
          fault,
          "nth",
          halve(fault.nth - 1).map((before) => before + 1)
        ),
        ...vary(fault, "millis", halve(fault.millis))
      ]
    case "Fabric":
      return [
        ...vary(fault, "at", earlier(fault.at)),
        ...vary(fault, "fault", simplerFabric(fault.fault))
      ]
    case "Site":
      return []
  }
}

/** Shorter forms of one preemption, simplest first. */
export const simplerPreemption = (preemption: Preemption): ReadonlyArray<Preemption> => {
  switch (preemption._tag) {
    case "Yield":
      return []
    case "Hold": {
      const { at, task } = preemption
      const shorter = halve(preemption.steps).filter((steps) => steps > 0)
      return shorter.map((steps): Preemption => ({ _tag: "Hold", at, task, steps }))
    }
    case "Late": {
      const { at, millis } = preemption
      const earlier = [1, Math.ceil(millis / 2), Math.ceil(millis)].filter((time) => time < millis)
      return earlier.map((time): Preemption => ({ _tag: "Late", at, millis: time }))
    }
  }
}
