/**
 * The table of a cluster: one line a node with its address, role, state, link and slots. On a
 * terminal it is drawn over itself and fits; elsewhere only lines that are new are printed.
 */
import type { LinkView, MembersView, SlotsView } from "../actors/bus/BusNode.ts"

/** What is shown at one moment. */
export interface Shown {
  readonly members: MembersView["members"]
  readonly slots: SlotsView["slots"]
  readonly links: ReadonlyArray<LinkView>
}

/** Digits of an id that tell the nodes of a cluster apart. */
const idDigits = 12

const slotsText = ({ slots }: Shown, id: string): string =>
  slots
    .filter((owner) => owner.id === id)
    .map(({ slots: [first, last] }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(" ")

/** Which links are up, seen from here, and how long a PING takes. */
const linkText = ({ links }: Shown, id: string, withTime: boolean): string => {
  const own = links.filter(({ node }) => node === id)
  const directions = ["to", "from"].filter((direction) =>
    own.some((link) => link.direction === direction)
  )
  const rtt = own.find(({ rttMs }) => rttMs !== undefined)?.rttMs
  const time = withTime && rtt !== undefined ? ` ${rtt.toFixed(1)} ms` : ""
  return `${directions.join("+") || "none"}${time}`
}

/** One line a node. Times change all the time: they are shown only where lines are drawn over. */
export const rowsOf = (shown: Shown, withTime: boolean): ReadonlyArray<string> =>
  shown.members.map(({ busPort, id, ip, role, state }) => {
    const at = `${ip}:${busPort}`.padEnd(22)
    const links = linkText(shown, id, withTime).padEnd(withTime ? 16 : 9)
    const fields = `${at}${role.padEnd(9)}${state.padEnd(12)}${links}${slotsText(shown, id)}`
    return `${id.slice(0, idDigits)}  ${fields}`.trimEnd()
  })

/**
 * Cuts lines to what a terminal shows: a line that wraps, or a table that scrolls, could not be
 * drawn over. The last column stays free, as some terminals begin a new line behind it.
 */
export const fit = (
  lines: ReadonlyArray<string>,
  { columns, rows }: { readonly columns: number; readonly rows: number }
): ReadonlyArray<string> => {
  // The line below the table is where the cursor stands.
  const most = Math.max(1, rows - 1)
  const isLong = lines.length > most
  const kept = isLong ? lines.slice(0, most - 1) : lines
  const all = isLong ? [...kept, `and ${lines.length - kept.length} nodes more`] : kept
  return all.map((line) => line.slice(0, Math.max(1, columns - 1)))
}

/** The sizes of a terminal that does not say them. */
const usual = { columns: 80, rows: 24 }

/** Gives what to write for each state of the table; nothing if there is nothing new. */
export const painter = (stream: {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}): ((shown: Shown) => string) => {
  let drawn = 0
  let printed = new Set<string>()
  return (shown) => {
    if (stream.isTTY !== true) {
      const lines = rowsOf(shown, false)
      const fresh = lines.filter((line) => !printed.has(line))
      printed = new Set(lines)
      return fresh.map((line) => `${line}\n`).join("")
    }
    const { columns = usual.columns, rows = usual.rows } = stream
    const lines = fit(rowsOf(shown, true), { columns, rows })
    const up = drawn > 0 ? `\u001b[${drawn}A` : ""
    drawn = lines.length
    return `${up}\u001b[J${lines.map((line) => `${line}\n`).join("")}`
  }
}
