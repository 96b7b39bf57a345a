/**
 * Reads the `SIM_*` variables of the environment, and refuses invalid values by name: a count that
 * is not a number would let a test pass without a run.
 */
import { WrongValue } from "../../SimError.ts"

/** Variables by name; an empty one counts as absent. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A run to repeat: its seed, and its fingerprint when its line was printed. */
interface Repeated {
  readonly seed: number
  readonly fingerprint: number | undefined
}

/** The checked values; `undefined` for absent ones. */
export interface FromEnvironment {
  readonly repeated: Repeated | undefined
  readonly runs: number | undefined
  readonly timeLimitSeconds: number | undefined
  readonly workers: number | undefined
  readonly isSaved: boolean
  readonly isFull: boolean
}

const wholeFrom1 = (text: string): number | undefined => {
  const value = /^\d+$/.test(text) ? Number(text) : 0
  return Number.isSafeInteger(value) && value >= 1 ? value : undefined
}

const secondsAbove0 = (text: string): number | undefined => {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0
  return Number.isFinite(value) && value > 0 ? value : undefined
}

const repeatedOf = (text: string): Repeated | undefined => {
  const match = /^(0x[0-9a-f]+|\d+)(?:@([0-9a-f]{1,8}))?$/i.exec(text)
  if (match === null || !Number.isSafeInteger(Number(match[1]))) return undefined
  const fingerprint = match[2] === undefined ? undefined : Number.parseInt(match[2], 16)
  return { seed: Number(match[1]), fingerprint }
}

const switchOf = (text: string): boolean | undefined =>
  text === "1" ? true : text === "0" ? false : undefined

const fullOf = (text: string): boolean | undefined => (text === "full" ? true : undefined)

/** Reads the variables; throws `WrongValue` for the first one that is wrong. */
export const readEnvironment = (env: Environment): FromEnvironment => {
  const read = <A>(name: string, allowed: string, parse: (text: string) => A | undefined) => {
    const text = env[name]?.trim() ?? ""
    if (text === "") return undefined
    const value = parse(text)
    if (value === undefined) throw new WrongValue({ name, value: text, allowed })
    return value
  }
  const seed = "a whole number such as 0x9f3a or 7, or what a failure prints: 0x9f3a@3f2a91bc"
  return {
    repeated: read("SIM_SEED", seed, repeatedOf),
    runs: read("SIM_RUNS", "a whole number from 1", wholeFrom1),
    timeLimitSeconds: read("SIM_TIME_LIMIT", "seconds above 0", secondsAbove0),
    workers: read("SIM_WORKERS", "a whole number from 1", wholeFrom1),
    isSaved: read("SIM_SAVE", "1 or 0", switchOf) ?? false,
    isFull: read("SIM_TRACE", "full", fullOf) ?? false
  }
}
