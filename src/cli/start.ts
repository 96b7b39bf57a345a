/** `handfast start`: what runs after `npm ci && npm start`. */
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import { version } from "./version.ts"

export const start = Command.make("start", {}, () => Console.log(`handfast ${version}`)).pipe(
  Command.withDescription("Print the version")
)
