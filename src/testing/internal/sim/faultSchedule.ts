/** The pending faults of a run, soonest first. */
import type { TimedFault } from "../../FaultPlan.ts"

const stepOf = (fault: TimedFault): number => ("step" in fault.at ? fault.at.step : 0)
const millisOf = (fault: TimedFault): number => ("millis" in fault.at ? fault.at.millis : 0)

/** Two short sorted lists: faults by step and faults by time. */
export class FaultSchedule {
  #bySteps: Array<TimedFault> = []
  #byMillis: Array<TimedFault> = []
  /** The step of the next fault, `Infinity` if there is none: one comparison for each step. */
  nextStep = Infinity
  /** The virtual time of the next fault, `Infinity` if there is none. */
  nextMillis = Infinity

  add(fault: TimedFault): void {
    if ("step" in fault.at) {
      this.#bySteps = [...this.#bySteps, fault].toSorted((a, b) => stepOf(a) - stepOf(b))
    } else {
      this.#byMillis = [...this.#byMillis, fault].toSorted((a, b) => millisOf(a) - millisOf(b))
    }
    this.#look()
  }

  /** Takes the next fault by step. */
  takeStep(): TimedFault | undefined {
    const fault = this.#bySteps.shift()
    this.#look()
    return fault
  }

  /** Takes the next fault by time. */
  takeMillis(): TimedFault | undefined {
    const fault = this.#byMillis.shift()
    this.#look()
    return fault
  }

  clear(): void {
    this.#bySteps = []
    this.#byMillis = []
    this.#look()
  }

  #look(): void {
    this.nextStep = this.#bySteps.length === 0 ? Infinity : stepOf(this.#bySteps[0]!)
    this.nextMillis = this.#byMillis.length === 0 ? Infinity : millisOf(this.#byMillis[0]!)
  }
}
