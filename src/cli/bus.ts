/**
 * `handfast bus join HOST:PORT`: joins a Redis or Valkey cluster as a member without slots, and
 * shows its nodes, slots and links as they change. In place on a terminal, otherwise as lines.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { BusNode, type MembersView, type SlotsView } from "../actors/bus/BusNode.ts"
import { asMember, joinFlags, seconds } from "./busJoining.ts"

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("One JSON object for each change"),
  Flag.withDefault(false)
)

const slotsText = (view: SlotsView, id: string): string =>
  view.slots
    .filter((owner) => owner.id === id)
    .map(({ slots: [first, last] }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(" ")

/** One line a node: its id, address, role, state and slots. */
const table = (members: MembersView, slots: SlotsView): ReadonlyArray<string> =>
  members.members.map(({ busPort, id, ip, role, state }) => {
    const at = `${ip}:${busPort}`.padEnd(22)
    return `${id.slice(0, 12)}  ${at}${role.padEnd(9)}${state.padEnd(12)}${slotsText(slots, id)}`
  })

/** Draws over what was drawn before, on a terminal. */
const drawer = (): ((lines: ReadonlyArray<string>) => string) => {
  let drawn = 0
  return (lines) => {
    const up = process.stdout.isTTY && drawn > 0 ? `\u001b[${drawn}A\u001b[J` : ""
    drawn = lines.length
    return up + lines.join("\n")
  }
}

const show = Effect.fnUntraced(function* (isJson: boolean) {
  const bus = yield* BusNode
  const draw = drawer()
  const views = Stream.zipLatest(bus.members, bus.slots)
  yield* Stream.runForEach(views, ([members, slots]) => {
    if (isJson) return Console.log(JSON.stringify({ ...members, slots: slots.slots }))
    if (members.members.length === 0) return Effect.void
    return Console.log(draw(table(members, slots)))
  })
})

const join = Command.make("join", { ...joinFlags, json, seconds }, (options) => {
  const joined = Effect.flatMap(BusNode, (bus) =>
    options.json ? Effect.void : Console.log(`Joined as ${bus.id} on ${bus.address}`)
  )
  return asMember(options, options.json, Effect.andThen(joined, show(options.json)))
}).pipe(
  Command.withDescription("Join a cluster as a member, and show its nodes, slots and links"),
  Command.withExamples([
    {
      command: "handfast bus join 127.0.0.1:6379",
      description: "Join through the client port or the bus port of a node"
    }
  ])
)

export const bus = Command.make("bus").pipe(
  Command.withDescription("Be a member of a Redis or Valkey cluster"),
  Command.withSubcommands([join])
)
