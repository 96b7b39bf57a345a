/**
 * Finds the files of a journal. SQLite resolves symbolic links and writes its log and its index
 * beside the target, so everything that looks at these files uses the path that is found here.
 */
import { lstatSync, realpathSync } from "node:fs"
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
