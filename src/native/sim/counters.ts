/** Counters of a simulated fabric: mistakes that real devices hide, or punish much later. */

/** Counters that only rise. */
export class Counters {
  /** TCP connections that a fault, or the death of a host's programs, has ended. */
  brokenConnections = 0
  /** Messages that reached a queue pair in `reset` or `init`: sent too soon. */
  earlyPosts = 0
  /** Messages that reached a queue pair that had failed or gone. */
  latePosts = 0
  /** Messages to a queue pair that is connected to another peer. */
  strays = 0
  /** Messages that met no posted receive, each time that they were sent. */
  rnrs = 0
  /** Accesses with an unknown key. */
  unknownKeys = 0
  /** Accesses that a key, a right or a bound forbids. */
  refusals = 0
  /** Work that ended more than once. */
  doubleCompletions = 0
  /** Messages and answers that were lost. */
  lost = 0
  /** Messages that were sent again. */
  repeats = 0
  /** Messages that took effect. */
  delivered = 0
}
