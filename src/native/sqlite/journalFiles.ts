/**
 * Finds the files of a journal. SQLite resolves symbolic links and writes its log and its index
 * beside the target, so all checks of these files use the path that is found here.
 */
import { lstatSync, readFileSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { FileRefused } from "./failures.ts"

/**
 * Returns the absolute path without symbolic links. A missing file is located by its directory; a
 * link to a missing file is refused.
 */
export const locate = (path: string): string => {
  const file = resolve(path)
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined) {
    return join(realpathSync(dirname(file)), basename(file))
  }
  try {
    return realpathSync(file)
  } catch (cause) {
    throw new FileRefused("io", `the symbolic link ${file} leads to no file: ${cause}`)
  }
}

/** The mount points of this process, with escapes in their names; none outside Linux. */
const mountPoints = (): ReadonlyArray<string> => {
  try {
    const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n")
    return lines.map((line) => line.split(" ")[4] ?? "")
  } catch {
    return []
  }
}

const escaped = (path: string) =>
  path.replaceAll(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`)

/**
 * Throws if a file has another path: the lock and the log lie beside a path, so a writer by another
 * path would have another lock and log. A hard link is one, and so is the target of a bind mount,
 * as of a single file in a container.
 */
export const assertOnePath = (file: string) => {
  const links = statSync(file, { throwIfNoEntry: false })?.nlink ?? 1
  if (links > 1) {
    throw new FileRefused("io", `the file has ${links} hard links: keep one, or copy the file`)
  }
  if (mountPoints().includes(escaped(file))) {
    throw new FileRefused("io", "the file is a mount point: mount its directory instead")
  }
}

/**
 * The files of an open journal. Writes to a removed one are lost, and one that was put in its place
 * is not the one that this process writes to.
 */
export class HeldFiles {
  readonly #files: ReadonlyArray<{
    readonly path: string
    readonly device: number | undefined
    readonly inode: number | undefined
  }>

  /** Made when the journal is open, because SQLite creates its log and its index then. */
  constructor(file: string) {
    this.#files = ["", "-wal", "-shm"].map((end) => {
      const stat = statSync(file + end, { throwIfNoEntry: false })
      return { path: file + end, device: stat?.dev, inode: stat?.ino }
    })
  }

  /** The first file that is no longer in its place. About a microsecond a file. */
  gone(): string | undefined {
    for (const { device, inode, path } of this.#files) {
      const stat = statSync(path, { throwIfNoEntry: false })
      if (stat?.ino !== inode || stat?.dev !== device) return path
    }
    return undefined
  }
}
