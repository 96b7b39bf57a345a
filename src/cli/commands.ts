/** The commands: parses arguments, runs one subcommand, sets the exit code. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { bus } from "./bus.ts"
import { decode } from "./decode.ts"
import { protocols } from "./protocols.ts"
import { simulate } from "./simulate.ts"
import { simulations } from "./simulations.ts"
import { peer } from "./peer.ts"
import { part } from "./demo/process.ts"
import { start } from "./start.ts"
import { version } from "./version.ts"

/**
 * Ends the process once its command is over and its output is written. By itself, a process waits
 * until its event loop is empty, and then for tasks of V8: one that never ends keeps it for ever.
 * One that exits at once loses the output that its reader has not taken yet.
 */
const endProcess: Runtime.Teardown = (exit) =>
  Runtime.defaultTeardown(exit, (code) => {
    process.stdout.write("", () => process.stderr.write("", () => process.exit(code)))
  })

Command.make("handfast").pipe(
  Command.withDescription("Peer links that never speak too soon"),
  Command.withSubcommands([start, part, simulate(simulations), decode(protocols), bus, peer]),
  Command.run({ version }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ teardown: endProcess })
)
