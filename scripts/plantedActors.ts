/** Defects of the actors' kernel that their simulation must find. */
import type { Defect } from "./plant.ts"

const kernel = "src/actors/kernel/internal"

const planted = (number: string, what: string, file: string, from: string, to: string): Defect => ({
  number,
  what,
  file: `${kernel}/${file}.ts`,
  from,
  to,
  test: "actors/actors.sim",
  name: "keep their word"
})

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
    "    cell.unwritten = undefined\n    return written",
    "    return written"
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
    "if"
  ),
  planted("K7", "passivation with a stash", "passivating", "  stash.length === 0 &&\n", ""),
  planted(
    "K8",
    "passivation while an append is under way",
    "passivating",
    "  append === undefined &&\n",
    ""
  ),
  planted(
    "K9",
    "a caller that has gone keeps its place among those who wait",
    "answering",
    "waiting?.remove(envelope.pending, envelope)",
    "void waiting"
  ),
  planted(
    "K10",
    "the state of a passive actor is the initial one",
    "recovering",
    "if (journal === undefined) return Effect.succeed(definition.initial)",
    "if (journal !== null) return Effect.succeed(definition.initial)"
  ),
  planted(
    "K11",
    "an epoch begins before the Scope of the one before is closed",
    "reacting",
    "before === undefined ? started : Effect.andThen(Fiber.await(before), started)",
    "started"
  ),
  planted(
    "K12",
    "callers of a failed append are not answered",
    "turning",
    'if (batch !== undefined) refuseFor(cell, batch, "journal", cause)',
    "void batch"
  ),
  planted(
    "K13",
    "a crash of an older generation is dealt with again",
    "restarting",
    "record.restarting || generation <= record.condemned",
    "record.restarting && generation > record.condemned"
  )
]
