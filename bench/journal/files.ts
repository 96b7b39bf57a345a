/** What the contestants of the journal bench share: one kind of event, and files on a real disk. */
import { mkdirSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"

export const ACTORS = 1000

/** The body that every contestant stores and decodes: 150 bytes, as of a link's life. */
export const body = JSON.stringify({
  _tag: "Moved",
  from: "10.0.0.1:7000",
  to: "10.0.0.2:7001",
  slots: [1, 2, 3, 4, 5],
  note: "x".repeat(60)
})

/** Does to a body what every contestant does to all bodies that it reads. */
export const decode = (text: string): number => (JSON.parse(text).slots.length === 5 ? 1 : 0)

// Beside the bench and not in the temporary directory, which may be memory.
const folder = fileURLToPath(new URL("../.data/", import.meta.url))

/** Runs with a new file, and deletes it with what is beside it. */
export const withFile = async <A>(run: (file: string) => Promise<A> | A): Promise<A> => {
  mkdirSync(folder, { recursive: true })
  const file = `${folder}${process.pid}.db`
  try {
    return await run(file)
  } finally {
    for (const end of ["", "-wal", "-shm"]) rmSync(file + end, { force: true })
  }
}
