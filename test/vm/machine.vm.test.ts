/**
 * Goal: the virtual machine is what the other tests here take it for.
 * Method: commands in it whose outcome is known, and one that is given up.
 */
import { connect } from "node:net"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Machine, onMachine } from "./machine.ts"

onMachine("the virtual machine", (it) => {
  it.effect("says what a command printed and how it ended", () =>
    Effect.gen(function* () {
      const { run } = yield* Machine
      assert.deepStrictEqual(yield* run("echo out; echo err >&2; exit 3"), {
        status: 3,
        output: "out\nerr\n"
      })
      assert.deepStrictEqual(yield* run("kill -KILL $$"), { status: 137, output: "" })
    })
  )

  it.effect("kills a command that is given up, with all its children", () =>
    Effect.gen(function* () {
      const { run, serve } = yield* Machine
      const { server } = yield* serve("sleep 123456 | nc -l -p 99", 99)
      yield* Fiber.interrupt(server)
      yield* run("while netstat -ltn | grep ':99 ' || pidof sleep; do usleep 20000; done")
    })
  )

  it.effect("has an iWARP device", () =>
    Effect.gen(function* () {
      const { run } = yield* Machine
      assert.include((yield* run("rdma link")).output, "siw0/1 state ACTIVE")
    })
  )

  it.effect("is reached through ports of loopback", () =>
    Effect.gen(function* () {
      const { port } = yield* (yield* Machine).serve("echo hello | nc -l -p 100", 100)
      const said = yield* Effect.callback<string>((resume) => {
        connect(port, "127.0.0.1").once("data", (chunk) => resume(Effect.succeed(`${chunk}`)))
      })
      assert.strictEqual(said, "hello\n")
    })
  )
})
