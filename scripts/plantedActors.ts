/** Defects of the actors' kernel that their simulation must find. */
import type { Defect } from "./planting.ts"

const kernel = "src/actors/kernel/internal"

const planted = (
  number: string,
  what: string,
  file: string,
  from: string,
  to: string,
  [test, name] = ["actors/kernel/actors.sim", "keep their word"]
): Defect => ({ number, what, file: `${kernel}/${file}.ts`, from, to, test, name })

export const actors: ReadonlyArray<Defect> = [
  planted(
    "K1",
    "a snapshot with the number of an event that its state does not have",
    "writing",
    "snapshotIfDue(cell, append)",
    "snapshotIfDue(cell, { ...append, seq: cell.seq })"
  ),
  planted(
    "K2",
    "the generation of a signal is not compared",
    "deciding",
    "if (current && from.generation === cell.generation) return false",
    "if (current) return false"
  ),
  planted(
    "K3",
    "a halt does not await the append",
    "halting",
    '(phase === "ready" || phase === "crashed") && append === undefined',
    '(phase === "ready" || phase === "crashed") && append !== null'
  ),
  planted(
    "K4",
    "writing goes on behind a failed append",
    "writing",
    "const goesOn = Exit.isSuccess(written) &&",
    "if (Exit.isFailure(written)) cell.append = undefined\n  const goesOn =",
    ["actors/kernel/guards", "a failed append is followed by no other"]
  ),
  planted(
    "K5",
    "messages that are put aside are never answered at the end",
    "answering",
    "const messages = cell.stash.concat(cell.mailbox)",
    "const messages = cell.mailbox"
  ),
  planted(
    "K6",
    "a fenced actor is restarted",
    "turning",
    "if (isFenced(cause)) endFailed(cell, cause)\n  else if",
    "if",
    ["actors/kernel/guards", "which no supervisor restarts"]
  ),
  planted(
    "K7",
    "a caller that has gone keeps its place among those who wait",
    "answering",
    "waiting?.remove(envelope.pending, envelope)",
    "void waiting"
  ),
  planted(
    "K8",
    "the state of a passive actor is the initial one",
    "recovering",
    "if (journal === undefined) return Effect.succeed(definition.initial)",
    "if (journal !== null) return Effect.succeed(definition.initial)"
  ),
  planted(
    "K9",
    "an epoch begins before the Scope of the one before is closed",
    "reacting",
    "before === undefined ? started : Effect.andThen(Fiber.await(before), started)",
    "started"
  ),
  planted(
    "K10",
    "callers of a failed append are not answered",
    "turning",
    'if (batch !== undefined) refuseFor(cell, batch, "journal", cause)',
    "void batch"
  ),
  planted(
    "K11",
    "a reply leaves before its events are durable",
    "turning",
    "if (!wait) return leaveBehind(cell, batch)",
    "return leaveBehind(cell, batch)"
  ),
  planted(
    "K12",
    "a failed append is taken for a success",
    "writing",
    "if (Exit.isFailure(written)) return written\n  cell.stored",
    "cell.stored"
  ),
  planted(
    "K13",
    "a generation begins before the Scope of the one before is closed",
    "releasing",
    "undefined : closeEpoch(cell, scope)",
    "undefined : Effect.asVoid(Effect.forkDetach(closeEpoch(cell, scope)))"
  ),
  planted(
    "K14",
    "a stale signal is applied",
    "deciding",
    "if (from === undefined) return false",
    "if (from !== null) return false"
  )
]
