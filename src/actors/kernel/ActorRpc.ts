/**
 * Serves an actor by RPC: the commands of its behavior, as they are declared, are the procedures.
 *
 * A remote caller sees the command's own answer and errors, and the errors between a caller and an
 * actor. The transport is Effect's: in memory, over a socket, between workers.
 */

import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Actor } from "./Actor.ts"
import { MailboxFull, Stopped } from "./ActorError.ts"
import type { Behavior, Tagged } from "./Behavior.ts"

/** A behavior's commands, with the errors that an actor adds to theirs. */
export type Group<Commands extends Rpc.Any> = RpcGroup.RpcGroup<
  Rpc.AddError<Commands, typeof MailboxFull | typeof Stopped>
>

/** The RPC group of a behavior, for clients and servers. */
export const group = <State, Commands extends Rpc.Any, Signal extends Tagged, E, R>(
  behavior: Behavior<State, Commands, Signal, E & Tagged, R>
): Group<Commands> => {
  const extended = (behavior.commands as ReadonlyArray<Rpc.Any>).map((command) => {
    // `Rpc.Any` hides the schemas and setters that every Rpc has.
    const { errorSchema, setError } = command as unknown as Rpc.Rpc<string>
    return setError.call(command, Schema.Union([errorSchema, MailboxFull, Stopped]))
  })
  // A list loses which command is which; the tags keep it at run time.
  return RpcGroup.make(...extended) as unknown as Group<Commands>
}

/**
 * Serves a running actor: each procedure asks it. A command that answers with a stream streams the
 * actor's answer to the caller. The `detail` of `Stopped` stays in the local log: it may hold stack
 * traces and messages of defects.
 */
export const layer = <State, Commands extends Rpc.Any, E>(
  served: Group<Commands>,
  actor: Actor<State, Commands, E>
): Layer.Layer<Rpc.ToHandler<Rpc.AddError<Commands, typeof MailboxFull | typeof Stopped>>> => {
  const commands = actor.ask as unknown as Readonly<Record<string, (payload: unknown) => Answered>>
  const handlers = Object.fromEntries(
    [...served.requests].map(([tag, command]: [string, Rpc.Any]) => {
      const ask = (payload: unknown): Answered =>
        Effect.mapError(
          Effect.suspend(() => commands[tag]?.(payload) ?? unknownCommand(tag)),
          withoutDetail
        )
      return [tag, isStreaming(command) ? (payload: unknown) => Stream.unwrap(ask(payload)) : ask]
    })
  )
  // The handlers are made from the group itself, so they fit it; the type checker cannot see it.
  return served.toLayer(handlers as never) as never
}

type Answered = Effect.Effect<never, unknown>

const withoutDetail = (error: unknown): unknown =>
  error instanceof Stopped ? new Stopped({ ...error, detail: "" }) : error

const isStreaming = (command: Rpc.Any): boolean =>
  // `Rpc.Any` hides the schemas that every Rpc has.
  RpcSchema.isStreamSchema((command as unknown as Rpc.AnyWithProps).successSchema)

const unknownCommand = (tag: string) => Effect.die(new Error(`the actor knows no ${tag}`))
