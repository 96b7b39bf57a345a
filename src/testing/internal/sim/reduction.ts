/**
 * Finds a smaller list that still fails, by delta debugging: the whole list is left out first, then
 * halves, then smaller parts, then each element. The remaining elements are replaced by simpler
 * ones.
 */
import * as Effect from "effect/Effect"

/** Drops parts of a list as long as the rest still `fails`. */
export const reduceList = Effect.fnUntraced(function* <A, E>(
  list: ReadonlyArray<A>,
  fails: (rest: ReadonlyArray<A>) => Effect.Effect<boolean, E>
) {
  let rest = list
  let size = rest.length
  while (size >= 1) {
    const before = rest.length
    for (let from = 0; from < rest.length;) {
      const without = [...rest.slice(0, from), ...rest.slice(from + size)]
      if (yield* fails(without)) rest = without
      else from += size
    }
    size = size === 1 && rest.length < before ? 1 : Math.floor(Math.min(size, rest.length) / 2)
  }
  return rest
})

/** The list with the first simpler form of one element that still fails. */
const simplifyAt = Effect.fnUntraced(function* <A, E>(
  list: ReadonlyArray<A>,
  index: number,
  forms: (element: A) => ReadonlyArray<A>,
  fails: (rest: ReadonlyArray<A>) => Effect.Effect<boolean, E>
) {
  for (const form of forms(list[index]!)) {
    const candidate = list.with(index, form)
    if (yield* fails(candidate)) return candidate
  }
  return undefined
})

/** Replaces each element by the first simpler form that still fails, again and again. */
export const simplifyList = Effect.fnUntraced(function* <A, E>(
  list: ReadonlyArray<A>,
  forms: (element: A) => ReadonlyArray<A>,
  fails: (rest: ReadonlyArray<A>) => Effect.Effect<boolean, E>
) {
  let simplified = list
  for (let index = 0; index < list.length; index++) {
    let next = yield* simplifyAt(simplified, index, forms, fails)
    while (next !== undefined) {
      simplified = next
      next = yield* simplifyAt(simplified, index, forms, fails)
    }
  }
  return simplified
})
