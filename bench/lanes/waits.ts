/**
 * How long work waits for an event loop.
 */

/**
 * What 99 % of the work that comes at any moment between `from` and `to` waits at most, when the
 * loop turned at these times. A long turn counts for as long as it lasted: the histogram of
 * `monitorEventLoopDelay` counts it once, like the millisecond before it.
 */
export const waitedAtMost = (turns: ReadonlyArray<number>, from: number, to: number): number => {
  const waits: Array<readonly [longest: number, shortest: number]> = []
  for (let i = 1; i < turns.length; i++) {
    const end = turns[i]!
    const first = Math.max(turns[i - 1]!, from)
    const last = Math.min(end, to)
    if (first < last) waits.push([end - first, end - last])
  }
  const longer = (wait: number) =>
    waits.reduce((sum, [long, short]) => sum + Math.max(0, long - Math.max(wait, short)), 0)
  let low = 0
  let high = Math.max(...waits.map(([longest]) => longest))
  while (high - low > 0.01) {
    const middle = (low + high) / 2
    if (longer(middle) > (to - from) / 100) low = middle
    else high = middle
  }
  return high
}
