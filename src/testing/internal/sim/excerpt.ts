/**
 * Chooses the lines of a trace that fit on a screen: repeated polling is folded into its first
 * round, then lines around faults and preemptions, before the end, and last in each fiber are kept.
 */
import type { Line } from "./recorder.ts"

/** The longest round of polling, in lines of one fiber. */
const longestRound = 6
const leastRounds = 3
/** Lines around a fault or a preemption that are not folded. */
const windowLines = 3

const keyOf = ({ ending, place, text, to }: Line): string =>
  `${place} ${text} ${ending ?? ""} ${to ?? ""}`.replaceAll(/-?\d+(\.\d+)?/g, "#")

/** Number of times that `keys` repeats the `length` keys that begin at `from`. */
const rounds = (keys: ReadonlyArray<string>, from: number, length: number): number => {
  let at = from + length
  while (at < keys.length && keys[at] === keys[at - length]) at++
  return Math.floor((at - from) / length)
}

/** The indexes of one fiber's lines after folding, with a note at the end of a first round. */
const foldFiber = (
  lines: ReadonlyArray<Line>,
  indexes: ReadonlyArray<number>
): Map<number, Line["repeats"]> => {
  const kept = new Map<number, Line["repeats"]>()
  const keys = indexes.map((index) => keyOf(lines[index]!))
  for (let at = 0; at < indexes.length;) {
    let [length, times] = [1, 1]
    for (let tried = 1; tried <= longestRound; tried++) {
      const found = rounds(keys, at, tried)
      if (found >= leastRounds && found * tried > length * times) [length, times] = [tried, found]
    }
    const untilMillis = lines[indexes[at + length * times - 1]!]!.millis
    for (let i = 0; i < length; i++) {
      const isLast = i === length - 1 && times > 1
      kept.set(indexes[at + i]!, isLast ? { times: times - 1, untilMillis } : undefined)
    }
    at += length * times
  }
  return kept
}

/** Distance of each line from the nearest one for which `is` holds. */
const distances = (lines: ReadonlyArray<Line>, is: (line: Line, index: number) => boolean) => {
  const far = lines.length
  const result = lines.map((line, index) => (is(line, index) ? 0 : far))
  for (let i = 1; i < far; i++) result[i] = Math.min(result[i]!, result[i - 1]! + 1)
  for (let i = far - 2; i >= 0; i--) result[i] = Math.min(result[i]!, result[i + 1]! + 1)
  return result
}

/** Folds repeated rounds of one fiber. */
const fold = (lines: ReadonlyArray<Line>): ReadonlyArray<Line> => {
  const fromMark = distances(lines, ({ isMark }) => isMark === true)
  const byFiber = new Map<string, Array<number>>()
  for (const [index, { fiber, process }] of lines.entries()) {
    if (fromMark[index]! <= windowLines) continue
    const key = `${process} ${fiber}`
    const indexes = byFiber.get(key)
    if (indexes === undefined) byFiber.set(key, [index])
    else indexes.push(index)
  }
  const kept = new Map<number, Line["repeats"]>()
  for (const indexes of byFiber.values()) {
    for (const [index, repeats] of foldFiber(lines, indexes)) kept.set(index, repeats)
  }
  return lines.flatMap((line, index) => {
    if (fromMark[index]! <= windowLines) return [line]
    if (!kept.has(index)) return []
    const repeats = kept.get(index)
    return [repeats === undefined ? line : { ...line, repeats }]
  })
}

/** Drops lines that add nothing to the others of their fiber. */
const withoutFaint = (lines: ReadonlyArray<Line>): ReadonlyArray<Line> => {
  const partyOf = ({ fiber, process }: Line) => `${process} ${fiber}`
  const isFaint = ({ quietSteps, text }: Line) => quietSteps !== undefined || text === "ends"
  const told = new Set(lines.filter((line) => !isFaint(line)).map(partyOf))
  return lines.filter((line) => !isFaint(line) || !told.has(partyOf(line)))
}

/** The most preemptions around which lines are chosen; with more, no other line would be left. */
const preemptionsShown = 8

/** Folds preemptions of one fiber at one place that follow each other. */
const foldPreemptions = (lines: ReadonlyArray<Line>): ReadonlyArray<Line> => {
  const folded: Array<Line> = []
  for (const line of lines) {
    const last = folded.at(-1)
    const isSame =
      last?.isMark === true &&
      line.isMark === true &&
      line.isFault !== true &&
      line.to === undefined &&
      `${last.process} ${last.fiber} ${keyOf(last)}` ===
        `${line.process} ${line.fiber} ${keyOf(line)}`
    if (!isSame) folded.push(line)
    else {
      const times = (last.repeats?.times ?? 0) + 1
      folded[folded.length - 1] = { ...last, repeats: { times, untilMillis: line.millis } }
    }
  }
  return folded
}

/** The marks around which lines are chosen: all faults, and the last preemptions. */
const chosenMarks = (lines: ReadonlyArray<Line>): ReadonlySet<Line> => {
  const marks = lines.filter(({ isMark }) => isMark === true)
  const preemptions = marks.filter(({ isFault }) => isFault !== true)
  return new Set([
    ...marks.filter(({ isFault }) => isFault === true),
    ...preemptions.slice(-preemptionsShown)
  ])
}

/** At most `count` lines, gaps counted, in their order. */
export const excerpt = (
  lines: ReadonlyArray<Line>,
  count: number
): { readonly lines: ReadonlyArray<Line>; readonly omitted: number } => {
  const folded = foldPreemptions(fold(withoutFaint(lines)))
  if (folded.length <= count) return { lines: folded, omitted: 0 }
  const marks = chosenMarks(folded)
  const fromMark = distances(folded, (line) => marks.has(line))
  const last = new Map(folded.map(({ fiber, process }, index) => [`${process} ${fiber}`, index]))
  const involved = new Set([...marks].map(({ fiber }) => fiber))
  const weight = (line: Line, index: number): number => {
    if (line.isFault === true) return -folded.length
    const isLast = last.get(`${line.process} ${line.fiber}`) === index
    const near = Math.min(fromMark[index]!, (folded.length - 1 - index) / 2, isLast ? 3 : Infinity)
    return near - (involved.has(line.fiber) ? 1 : 0)
  }
  const ranked = folded
    .map((line, index) => ({ index, weight: weight(line, index) }))
    .toSorted((a, b) => a.weight - b.weight || b.index - a.index)
    .map(({ index }) => index)
  for (let kept = count; ; kept--) {
    const shown = pick(folded, new Set(ranked.slice(0, kept)))
    const gaps = shown.filter(({ omitted }) => omitted !== undefined).length
    if (kept + gaps <= count || kept === 1) return { lines: shown, omitted: folded.length - kept }
  }
}

/** The chosen lines, with the number of lines that are missing before each. */
const pick = (lines: ReadonlyArray<Line>, chosen: ReadonlySet<number>): ReadonlyArray<Line> => {
  const shown: Array<Line> = []
  let omitted = 0
  for (const [index, line] of lines.entries()) {
    if (!chosen.has(index)) omitted++
    else {
      shown.push(omitted === 0 ? line : { ...line, omitted })
      omitted = 0
    }
  }
  return shown
}
