/**
 * `.ci/run` sets `WIDE=1` and explores many seeds; a plain `npm test` explores enough of them to
 * notice each planted defect.
 */
const isWide = process.env["WIDE"] === "1"

/** The first number in a wide run, the second one otherwise. */
export const wideOr = (wide: number, usual: number): number => (isWide ? wide : usual)
