/**
 * Notices that a device is being removed.
 *
 * Only some drivers send an event. The others wait until every program has closed the device, and
 * what shows at once is that its node in the file system is gone.
 */
import { existsSync, type FSWatcher, watch as watchFolder } from "node:fs"
import type { Watch } from "./watch.ts"

const folder = "/dev/infiniband"

/** Calls once when the node of a device is gone, if it was there. */
export const watchNode = (node: string, onGone: () => void): Watch => {
  const isThere = (): boolean => existsSync(`${folder}/${node}`)
  if (!isThere()) return { close: () => undefined }
  let isOver = false
  const close = (): void => {
    isOver = true
    watcher.close()
  }
  const look = (): void => {
    if (isOver || isThere()) return
    close()
    onGone()
  }
  const watcher: FSWatcher = watchFolder(folder, { persistent: false }, look)
  // Without the watch, a driver that sends no event is closed when the program is.
  watcher.on("error", () => watcher.close())
  // It may have gone before the watch began.
  queueMicrotask(look)
  return { close }
}
