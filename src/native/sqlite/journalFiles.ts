/**
 * Finds the files of a journal. SQLite resolves symbolic links and writes its log and its index
 * beside the target, so everything that looks at these files uses the path that is found here.
 */
import { lstatSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { FileRefused } from "./failures.ts"

/**
 * Returns the absolute path without symbolic links. A file that is not there yet is located by its
 * directory; a link to a file that is not there is refused.
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

/**
 * The files of an open journal. A removed one takes what is written to it along, and one that was
 * put in its place is not the one that this process writes to.
 */
export class HeldFiles {
  readonly #files: ReadonlyArray<{
    readonly path: string
    readonly device: number | undefined
    readonly inode: number | undefined
  }>

  /** To be made when the journal is open: SQLite makes its log and its index then. */
  constructor(file: string) {
    this.#files = ["", "-wal", "-shm"].map((end) => {
      const stat = statSync(file + end, { throwIfNoEntry: false })
      return { path: file + end, device: stat?.dev, inode: stat?.ino }
    })
  }

  /** The first one that is not in its place any more. About a microsecond a file. */
  gone(): string | undefined {
    for (const { device, inode, path } of this.#files) {
      const stat = statSync(path, { throwIfNoEntry: false })
      if (stat?.ino !== inode || stat?.dev !== device) return path
    }
    return undefined
  }
}
