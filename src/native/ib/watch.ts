/** Waits for a file descriptor of a library to be readable, in the event loop. */
import type { Libraries } from "./library.ts"

export interface Watch {
  readonly close: () => void
}

/** Watches that are open: one that nothing refers to would be collected, and wait for ever. */
const watches = new Set<Watch>()

/** Calls when there is something to read. It makes the descriptor non-blocking. */
export const watch = ({ koffi }: Libraries, descriptor: number, onReadable: () => void): Watch => {
  const handle = koffi.node.poll(descriptor, { readable: true }, () => {
    try {
      onReadable()
    } catch (error) {
      // Thrown from here, no watch would be called any more, and the loop would spin.
      queueMicrotask(() => {
        throw error
      })
    }
  })
  const made: Watch = {
    close: () => {
      if (watches.delete(made)) handle.close()
    }
  }
  watches.add(made)
  return made
}
