/** The directory of a demo, and those that killed demos have left. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const prefix = "handfast-start-"

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process is alive, too.
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Removes a directory, unless it belongs to another user. */
const remove = (path: string): void => {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {}
}

/** Removes the directories of demos that do not run any more. */
const removeLeftovers = (): void => {
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = /^handfast-start-(\d+)-/.exec(name) ?? []
    if (pid !== undefined && !isAlive(Number(pid))) remove(join(tmpdir(), name))
  }
}

/**
 * Makes a directory that names this process, so that a later one can check whether it is in use.
 */
export const makeDirectory = (): string => {
  removeLeftovers()
  return mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`))
}

export const removeDirectory = remove
