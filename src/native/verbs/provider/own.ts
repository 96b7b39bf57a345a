/** What a device has made: a thing that a program hands back is one of these, or a stranger. */

/** Things of one kind. */
export class Own<A extends object> {
  readonly #made = new WeakSet<object>()

  add<B extends A>(thing: B): B {
    this.#made.add(thing)
    return thing
  }

  has(thing: object): thing is A {
    return this.#made.has(thing)
  }
}
