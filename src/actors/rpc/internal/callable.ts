/** The numbers that name a program, its version and a procedure in a call. */

export const largestNumber = 0xffff_ffff

/** Whether a call can carry a number. */
export const isCallable = (number: number, least = 0): boolean =>
  Number.isInteger(number) && number >= least && number <= largestNumber
