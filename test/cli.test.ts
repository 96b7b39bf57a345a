/**
 * Goal: the command line does what a shell script relies on: lines, messages and exit codes.
 * Method: real child processes; `decode` runs over a protocol that exists only in this test, and
 * the shipped command over its own table.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { protocols } from "../src/cli/protocols.ts"
import { wideOr } from "./wide.ts"

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))
const main = path("../src/cli/main.ts")
const counted = path("./fixtures/decode.ts")

const run = (script: string, args: ReadonlyArray<string>, input = "") => {
  const result = spawnSync(process.execPath, [script, ...args], {
    input,
    encoding: "utf8",
    timeout: 150_000
  })
  const lines = result.stdout.split("\n").filter((line) => line !== "")
  return { code: result.status, lines, stderr: result.stderr }
}

const decode = (input: string, ...flags: ReadonlyArray<string>) => {
  const { code, lines, stderr } = run(counted, ["counted", ...flags], input)
  return { code, frames: lines.map((line): unknown => JSON.parse(line)), stderr }
}

const frame = (seen: number, from: string, body: string, encoded: string) => ({
  ok: true,
  frame: { seen: String(seen), body, from },
  bytes: encoded.length / 2,
  encoded
})

describe("handfast start", () => {
  const told = (...flags: ReadonlyArray<string>) => {
    const { code, lines } = run(main, ["start", "--seconds", "4", "--json", ...flags])
    return { code, told: JSON.parse(lines[0] ?? "") as Record<string, unknown> }
  }

  it("keeps its promises: all that was accepted has ended, once, and nobody spoke too soon", () => {
    const { code, told: ending } = told()
    assert.deepInclude(ending, { early: 0, failed: 0, twice: 0, wrong: 0, kept: true })
    assert.strictEqual(ending["ended"], ending["accepted"])
    assert.isAbove(Number(ending["accepted"]), 0)
    // T11: the audit speaks over all that was accepted, and misses nothing that was copied.
    assert.strictEqual(ending["unseen"], 0)
    assert.isAtLeast(Number(ending["accepted"]), Number(ending["pieces"]))
    assert.strictEqual(code, 0)
  }, 120_000)

  it("turns red with the gate off, beside a run with the gate on", () => {
    const { code, told: ending } = told("--gate", "off")
    assert.isAbove(Number(ending["early"]), 0)
    assert.strictEqual(ending["kept"], false)
    const { gateOn } = ending as { readonly gateOn: Record<string, unknown> }
    assert.deepInclude(gateOn, { early: 0, lost: 0, kept: true })
    assert.strictEqual(code, 1)
  }, 180_000)

  it("says what is about to happen, names each recovery and judges it", () => {
    const { code, lines } = run(main, ["start", "--seconds", "2"])
    const text = lines.join("\n")
    assert.match(lines[0]!, /^Two processes copy each other's memory\. One is killed/)
    assert.isBelow(text.indexOf("both copy\n"), text.indexOf("ben is killed"))
    for (const after of ["ben was killed", "the cut"]) {
      assert.match(text, new RegExp(`time after ${after} +\\d+\\.\\d s`))
    }
    assert.lengthOf(text.match(/both copy again, \d+\.\d s later: (good|slow)/g) ?? [], 2)
    assert.isTrue(lines.every((line) => line.length <= 80))
    // eslint-disable-next-line no-control-regex
    assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f]/)
    assert.match(lines.at(-1)!, /sent too soon\.$/)
    assert.strictEqual(code, 0)
  }, 120_000)

  it("refuses a time that is none", () => {
    for (const seconds of ["-3", "0", "1", "3601"]) {
      const { code, stderr } = run(main, ["start", `--seconds=${seconds}`])
      assert.include(stderr, `"${seconds}". Expected: a whole number from 2 to 3600`)
      assert.isAbove(code!, 0)
    }
  }, 60_000)

  it("ends with a word when it is interrupted, and leaves nothing behind", async () => {
    const temporary = mkdtempSync(join(tmpdir(), "handfast-cli-"))
    const env = { ...process.env, TMPDIR: temporary }
    const child = spawn(process.execPath, [main, "start", "--seconds", "60"], { env })
    let stderr = ""
    child.stderr.on("data", (piece) => (stderr += String(piece)))
    // Its directory is there when the two are about to begin.
    while (readdirSync(temporary).length === 0) await once(child.stdout, "data")
    child.kill("SIGINT")
    const [code] = (await once(child, "exit")) as [number]
    assert.strictEqual(code, 130)
    assert.include(stderr, "Stopped. Both processes are ended.")
    assert.deepStrictEqual(readdirSync(temporary), [])
    rmSync(temporary, { recursive: true })
  }, 60_000)
})

describe("handfast simulate", () => {
  const simulated = (...flags: ReadonlyArray<string>) => {
    const { code, lines } = run(main, ["simulate", "endpoint", "--json", ...flags])
    return { code, found: JSON.parse(lines[0] ?? "") as Record<string, unknown> }
  }

  const seeds = wideOr(120, 30)

  it("runs seeds, over processes, and finds nothing", () => {
    const { code, found } = simulated("--seeds", String(seeds), "--jobs", "2")
    const clean = { runs: seeds, violations: 0, earlyPosts: 0, deterministic: true }
    assert.deepInclude(found, { ...clean, firstFailingSeed: null })
    assert.strictEqual(code, 0)
  }, 120_000)

  it("finds early posts with the gate off, and repeats the failing seed", () => {
    const { code, found } = simulated("--gate", "off", "--seeds", "6")
    assert.isAbove(Number(found["earlyPosts"]), 0)
    assert.strictEqual(code, 1)
    const again = simulated("--gate", "off", "--seed", String(found["firstFailingSeed"]))
    assert.strictEqual(again.found["firstFailingSeed"], found["firstFailingSeed"])
  }, 120_000)

  it("refuses to run nothing", () => {
    for (const flag of ["--seeds=0", "--jobs=0", "--seed=-1"]) {
      const { code, stderr } = run(main, ["simulate", "endpoint", flag])
      assert.include(stderr, `"${flag.split("=")[1]}". Expected: a whole number from`)
      assert.isAbove(code!, 0)
    }
  }, 60_000)

  it("says what it knows", () => {
    const { code, stderr } = run(main, ["simulate", "weather"])
    assert.strictEqual(code, 2)
    assert.include(stderr, 'There is no simulation "weather". Known: bus, endpoint, rpc.')
    const help = run(main, ["simulate", "--help"])
    assert.include(help.lines.join("\n"), "The simulation: bus, endpoint, rpc")
    const planted = run(main, ["simulate", "endpoint", "--plant", "nothing"])
    assert.include(planted.stderr, "ready-without-looking")
  }, 60_000)
})

describe("handfast decode", () => {
  it("prints a JSON line a frame, and keeps state and direction over lines", () => {
    const { code, frames, stderr } = decode("c2s 01aa02bbcc\ns2c 00\n01 dd\n")
    assert.deepStrictEqual(frames, [
      frame(1, "c2s", "aa", "01aa"),
      frame(2, "c2s", "bbcc", "02bbcc"),
      frame(3, "s2c", "", "00"),
      frame(4, "unknown", "dd", "01dd")
    ])
    assert.deepStrictEqual([code, stderr], [0, ""])
  })

  it("ignores comments, blank lines, letter case, carriage returns, a missing last newline", () => {
    const { code, frames } = decode("# a comment\n\n  \r\nC2S 01AB\r\n01ac")
    assert.deepStrictEqual(frames, [
      frame(1, "c2s", "ab", "01ab"),
      frame(2, "unknown", "ac", "01ac")
    ])
    assert.strictEqual(code, 0)
  })

  it("prints what is no frame as a typed error, and goes on with exit code 0", () => {
    const { code, frames } = decode("05aa\n00\n")
    assert.deepStrictEqual(frames, [
      { ok: false, error: { _tag: "Short" } },
      frame(1, "unknown", "", "00")
    ])
    assert.strictEqual(code, 0)
  })

  for (const bad of ["zz", "c2s", "c2s 0", "s3c 00", "00 c2s", "00 # no comment"]) {
    it(`stops at the line "${bad}" with exit code 2, after the frames before it`, () => {
      const { code, frames, stderr } = decode(`00\n${bad}\n00\n`)
      assert.deepStrictEqual(frames, [frame(1, "unknown", "", "00")])
      assert.strictEqual(code, 2)
      assert.include(stderr, `Line 2 is not hex, optionally after c2s or s2c: "${bad}"`)
    })
  }

  it("accepts a line of the longest length and refuses one that is longer", () => {
    const accepted = decode("00\n01aa\n", "--max-line", "4")
    assert.deepStrictEqual([accepted.code, accepted.frames.length], [0, 2])
    for (const input of ["00\n02aabb\n", "00\n02aabb"]) {
      const refused = decode(input, "--max-line", "4")
      assert.deepStrictEqual([refused.code, refused.frames.length], [2, 1])
      assert.include(refused.stderr, "Line 2 is longer than 4 characters (--max-line)")
    }
  })

  it("refuses an endless line without reading it to its end", async () => {
    const child = spawn(process.execPath, [counted, "counted", "--max-line", "65536"], {
      stdio: ["pipe", "ignore", "pipe"]
    })
    const endless = function* () {
      for (;;) yield Buffer.alloc(65_536, "0")
    }
    // The pipe breaks when the command has ended, which is what the test waits for.
    child.stdin.on("error", () => {})
    Readable.from(endless()).pipe(child.stdin)
    const code = await new Promise((resolve) => child.on("exit", resolve))
    assert.strictEqual(code, 2)
  })

  it("prints the frames of a line before the next one arrives", async () => {
    const child = spawn(process.execPath, [counted, "counted"], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    const output = child.stdout.setEncoding("utf8")[Symbol.asyncIterator]()
    child.stdin.write("c2s 01aa\n")
    assert.deepStrictEqual(JSON.parse((await output.next()).value), frame(1, "c2s", "aa", "01aa"))
    child.stdin.end("s2c 00\n")
    assert.deepStrictEqual(JSON.parse((await output.next()).value), frame(2, "s2c", "", "00"))
    assert.strictEqual(await new Promise((resolve) => child.on("exit", resolve)), 0)
  })
})

describe("handfast", () => {
  for (const name of ["nosuch", "toString", "__proto__"]) {
    it(`names the protocols that it knows when asked for ${name}`, () => {
      const { code, lines, stderr } = run(main, ["decode", name], "00\n")
      assert.deepStrictEqual([code, lines], [1, []])
      assert.include(stderr, `There is no protocol "${name}".`)
      for (const known of Object.keys(protocols)) assert.include(stderr, known)
    })
  }

  it("refuses a subcommand that it does not have", () => {
    const { code, stderr } = run(main, ["nosuch"])
    assert.strictEqual(code, 1)
    assert.include(stderr, "nosuch")
  })
})
