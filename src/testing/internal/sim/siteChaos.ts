/**
 * Chaos inside a simulation, in two phases: a run first draws whether a site is active at all, and
 * an active site then fires at some of its passes. A site's draws depend on the seed and on its
 * name only, so switching one site off leaves the others as they were.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Chaos } from "../../../actors/kernel/Chaos.ts"
import { Prng } from "./prng.ts"
import type { Barrier, Mark, Simulator } from "./simulator.ts"

/** Share of the sites that are active in a run, and share of the passes at which one fires. */
const activeShare = 0.25
const firingShare = 0.25
/** The longest disturbance, in milliseconds of virtual time. */
const longestSleep = 50

/** Records that a mark was reached, and whether its condition was true. */
export const noteMark = (marks: Map<string, Mark>, name: string, hit: boolean): void => {
  const mark = marks.get(name) ?? { reached: 0, hits: 0 }
  mark.reached++
  if (hit) mark.hits++
  marks.set(name, mark)
}

/** The mark of a site that a plan names: some run must pass it. */
export const siteMark = (name: string): string => `chaos at ${name}`

/** The mark of a barrier: some run must reach it. */
const barrierMark = (name: string): string => `barrier at ${name}`

/** Holds the next fiber that passes a site. */
export const setBarrier = ({ barriers, marks }: Simulator, site: string): Barrier => {
  const barrier = { reached: Deferred.makeUnsafe<void>(), gate: Deferred.makeUnsafe<void>() }
  barriers.set(site, barrier)
  noteMark(marks, barrierMark(site), false)
  return barrier
}

/** Makes the chaos of one run. Active sites become part of the run's fault plan. */
export const siteChaos = (simulator: Simulator): Chaos => {
  const sites = new Map<string, Prng | undefined>()

  const activate = (name: string): Prng | undefined => {
    const prng = new Prng(simulator.seed, `site ${name}`)
    const drawn = prng.chance(activeShare)
    const listed = simulator.plan.some((fault) => fault._tag === "Site" && fault.name === name)
    const active = listed || (!simulator.planGiven && drawn)
    if (listed) noteMark(simulator.marks, siteMark(name), true)
    if (active && !listed) simulator.plan.push({ _tag: "Site", name })
    return active ? prng : undefined
  }
  const firing = (name: string): Prng | undefined => {
    if (!simulator.faulty) return undefined
    if (!sites.has(name)) sites.set(name, activate(name))
    const prng = sites.get(name)
    if (prng === undefined || !prng.chance(firingShare)) return undefined
    simulator.recorder?.event(`chaos at "${name}"`)
    return prng
  }

  return {
    fires: (name) => firing(name) !== undefined,
    pass: (name) => {
      const barrier = simulator.barriers.get(name)
      if (barrier !== undefined) {
        simulator.barriers.delete(name)
        noteMark(simulator.marks, barrierMark(name), true)
        simulator.recorder?.event(`held at "${name}"`)
        return Effect.andThen(
          Deferred.succeed(barrier.reached, undefined),
          Deferred.await(barrier.gate)
        )
      }
      const prng = firing(name)
      if (prng === undefined) return Effect.void
      if (prng.chance(0.5)) return Effect.yieldNow
      return Effect.sleep(Duration.millis(prng.between(1, longestSleep)))
    },
    mark: (name, hit) => noteMark(simulator.marks, name, hit)
  }
}
