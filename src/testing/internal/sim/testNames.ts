/** Names of a test: for people, and as a pattern that selects it in another vitest. */

/** A test as it is declared. */
export interface Test {
  readonly name: string
  readonly file: string
  /** The groups that the test is in, from the outermost one. */
  readonly groups?: ReadonlyArray<string>
}

/** The name with those of its groups, which no other test of the file has. */
export const fullName = ({ groups = [], name }: Test): string => [...groups, name].join(" ")

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** Matches this test only, not others whose names contain its name. */
export const namePattern = ({ groups = [], name }: Test): string =>
  // Versions of vitest join names by a space or by " > ".
  `^${[...groups, name].map(escaped).join("( >)? ")}$`
