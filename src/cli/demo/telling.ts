/** The texts of a demo: its plan, and its results. */
import { SLOW_MILLIS, TOGETHER } from "./messages.ts"
import type { Recovery, DemoResult } from "./result.ts"

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** Milliseconds in which work continues after a fault, on an ordinary machine. */
const SOON = 1_000

/** Transitions of the queue pairs of one connection: two of them, with three each. */
const STEPS = 6

const questions = {
  on: "One is killed, then the network is cut: is anything lost?",
  off: "First with the gate on, then with it off: what does it cost to send too soon?"
} as const

export const opening = (gate: "on" | "off"): ReadonlyArray<string> => [
  `Two processes copy each other's memory. ${questions[gate]}`,
  "",
  "   ann   is ready at once",
  `    |    ${TOGETHER} copies of 1 MB at a time, in both directions`,
  `   ben   takes ${seconds(STEPS * SLOW_MILLIS)} to get ready for a connection`,
  "",
  "The gate: neither sends before the other has reported that it is ready. " +
    "As on a network card, data sent too soon is lost, and the connection with it.",
  ""
]

/** The broken promises, in words. */
export const broken = (told: DemoResult): ReadonlyArray<string> => [
  ...(told.early > 0 ? [`${told.early} times one sent before the other was ready`] : []),
  ...(told.accepted === told.ended ? [] : [`${told.accepted - told.ended} copies never ended`]),
  ...(told.failed > 0 ? [`${told.failed} copies failed`] : []),
  ...(told.twice > 0 ? [`${told.twice} copies ended twice`] : []),
  ...(told.wrong > 0 ? [`${told.wrong} copies are not what the other one has`] : []),
  ...(told.unseen > 0 ? [`${told.unseen} events of the journals were deleted unseen`] : [])
]

const judged = (millis: number): string => (millis <= SOON ? "good" : "slow")

/** Printed when both copy again. */
export const recovered = (millis: number): string =>
  `both copy again, ${seconds(millis)} later: ${judged(millis)}`

/** The longest time of the two, for each fault. */
const recoveryTimes = (recoveries: ReadonlyArray<Recovery>): ReadonlyMap<string, number> => {
  const longest = new Map<string, number>()
  for (const { after, millis } of recoveries) {
    longest.set(after, Math.max(millis, longest.get(after) ?? 0))
  }
  return longest
}

/** Rows of the results of a run, with the same texts for all runs. */
const rows = (told: DemoResult): ReadonlyArray<readonly [string, string]> => {
  const times = recoveryTimes(told.recoveries)
  const waited = [...times.values()].reduce((sum, millis) => sum + millis, told.startMillis)
  return [
    ["copies asked for", String(told.accepted)],
    ["copies finished, each once", String(told.ended - told.twice - told.failed)],
    ["copies failed or not right", String(told.failed + told.wrong)],
    ["megabytes copied", String(told.megabytes)],
    ["connections made", String(told.generations)],
    ["connections used too soon", String(told.early)],
    ["connections lost by that", String(told.lost)],
    ["pieces sent again", String(told.resent)],
    ["time until the first copies", seconds(told.startMillis)],
    ...[...times].map(([after, millis]) => [`time ${after}`, seconds(millis)] as const),
    ["time lost, in all", seconds(waited)]
  ]
}

/** The results of each run, one column a run. */
export const table = (
  runs: ReadonlyArray<{ readonly title: string; readonly told: DemoResult }>
): ReadonlyArray<string> => {
  const columns = runs.map(({ told }) => rows(told))
  const names = columns[0]!.map(([name]) => name)
  const width = Math.max(...names.map(({ length }) => length)) + 2
  const cells = (name: string, values: ReadonlyArray<string>) =>
    `  ${name.padEnd(width)}${values.map((value) => value.padStart(9)).join("")}`
  const head =
    runs.length > 1
      ? [
          cells(
            "",
            runs.map(({ title }) => title)
          )
        ]
      : []
  const lines = names.map((name, row) =>
    cells(
      name,
      columns.map((column) => column[row]?.[1] ?? "-")
    )
  )
  return [...head, ...lines]
}

/** The last line about a run in which all promises were kept. */
export const kept = "Kept: each copy was finished once and is right; neither side sent too soon."
