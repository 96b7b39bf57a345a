/**
 * Prints a demo: lines that fit the terminal, and on a terminal a bar that is redrawn in place.
 * Other outputs get the lines alone, without control characters.
 */

/** Columns of output to files and logs. */
const USUAL = 80
/** The narrowest supported terminal. */
const LEAST = 24

export interface Screen {
  /** Prints a line; its continuation is indented as it is. */
  readonly line: (text: string) => void
  /** Draws the progress of the demo, from 0 to 1, with a text beside it. */
  readonly progress: (share: number, text: string) => void
}

/** Breaks a text at its spaces, so that no line is longer than `columns` if possible. */
export const wrap = (text: string, columns: number): ReadonlyArray<string> => {
  const indent = /^ */.exec(text)![0]
  const lines: Array<string> = []
  let line = indent
  // Several spaces are a column of a table: they stay with the text before them.
  for (const word of text.slice(indent.length).match(/\S+ */g) ?? []) {
    const isFull = line.trim() !== "" && (line + word.trimEnd()).length > columns
    if (isFull) lines.push(line.trimEnd())
    line = isFull ? indent + word : line + word
  }
  return [...lines, line.trimEnd()]
}

const bar = (share: number, width: number): string => {
  const filled = Math.round(width * Math.min(1, share))
  return `[${"#".repeat(filled)}${".".repeat(width - filled)}]`
}

/** The screen of a stream; a quiet one shows nothing. */
export const screenOn = (stream: NodeJS.WriteStream, isQuiet: boolean): Screen => {
  const { isTTY } = stream
  const columns = () => Math.max(LEAST, stream.columns ?? USUAL)
  const print = (text: string) => void (isQuiet || stream.write(text))
  return {
    line: (text) => {
      const lines = wrap(text, columns()).map((line) => `${line}\n`)
      print(isTTY ? `\r\u001B[K${lines.join("")}` : lines.join(""))
    },
    progress: (share, text) => {
      if (!isTTY) return
      const width = Math.min(30, columns() - text.length - 6)
      // The last column stays free: some terminals begin a new line after it.
      const drawn = `  ${width > 4 ? `${bar(share, width)} ` : ""}${text}`.slice(0, columns() - 1)
      print(`\r\u001B[K${drawn}`)
    }
  }
}
