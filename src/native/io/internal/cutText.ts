/**
 * Bounds the length of texts that a peer may choose, before they go into a record.
 */

/** Characters of a message: Node's own, without a peer's part, are shorter. */
export const detailCharacters = 300

/** Characters of a name; a certificate's common name has 64 at most by the standard. */
export const nameCharacters = 256

const ellipsis = "…"

/**
 * Returns at most `characters` characters, each of at most 3 bytes in UTF-8 and in JSON: control
 * characters and halves of pairs are replaced. A text that was cut ends with an ellipsis, so it
 * equals no shorter one.
 */
export const cutText = (text: string, characters: number): string => {
  const cut =
    text.length <= characters ? text : text.slice(0, characters - ellipsis.length) + ellipsis
  return cut.replace(/\p{Cc}/gu, " ").toWellFormed()
}
