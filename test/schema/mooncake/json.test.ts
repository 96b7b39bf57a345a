/**
 * Goal: texts are read as leniently as Mooncake reads them, exactly, and without a way to harm.
 * Method: tables of what its reader takes and refuses; random values in many disguises; the two
 * ways of reading against each other.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Json, parse, print } from "../../../src/schema/mooncake/internal/json.ts"
import { failure, success, wellFormed } from "./vectors.ts"

/** A comment in front makes it the lenient reader's business. */
const lenient = (text: string): Json => success(parse(`/**/${text}`))

describe("a text", () => {
  it("may be dressed in ways that only a lenient reader takes", () => {
    const texts: ReadonlyArray<readonly [string, Json]> = [
      ['// c\n{"a"/* b */:/**/1} // d', { a: 1 }],
      ['\ufeff{"a":1}', { a: 1 }],
      ["[1,2,]", [1, 2]],
      ["[1,/* last */]", [1]],
      ['{"a":1,}', { a: 1 }],
      ['{"a":1}{"b":2}', { a: 1 }],
      ["{} trailing \u0000", {}],
      ["5\n", 5],
      ["[-0.5,2.001e3,1E-2]", [-0.5, 2001, 0.01]],
      ['{"a":1,"b":2,"a":3}', { a: 3, b: 2 }],
      ['"a\n\t\u0001b"', "a\n\t\u0001b"],
      [String.raw`/**/"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 u"`, '"\\/\b\f\n\r\té😀 u'],
      ["/* */ /* */\r\n[ true , false , null ]", [true, false, null]]
    ]
    for (const [text, value] of texts) {
      const read = success(parse(text))
      assert.deepStrictEqual(JSON.parse(JSON.stringify(read)), value, text)
    }
  })

  it("that is no value is a fault, which says where and what", () => {
    const faults: ReadonlyArray<readonly [string, number, string]> = [
      ["", 0, "a value"],
      [" \n", 2, "a value"],
      ["not json", 0, "a value"],
      ["[1 2]", 3, "a comma or the end of an array"],
      ["[,]", 1, "a value"],
      ["[1,,2]", 3, "a value"],
      ['{"a" 1}', 5, "a colon"],
      ["{a:1}", 1, "a key"],
      ['{"a":1 "b":2}', 7, "a comma or the end of an object"],
      ['{"a":', 5, "a value"],
      ['"abc', 4, "an escape or the end of a string"],
      [String.raw`"\x"`, 1, "an escape or the end of a string"],
      [String.raw`"\u12"`, 1, "an escape or the end of a string"],
      ["/* never", 0, "a value"],
      ["-", 0, "a value"],
      ["NaN", 0, "a value"],
      ["'a'", 0, "a value"]
    ]
    for (const [text, at, expected] of faults) {
      const fault = { ...failure(parse(text)) }
      assert.deepInclude(fault, { _tag: "BadJson", at, expected }, text)
    }
  })

  it("may nest deeper than every message does, and not endlessly", () => {
    for (const prefix of ["", "/**/"]) {
      const nested = (depth: number) => prefix + "[".repeat(depth) + "]".repeat(depth)
      assert.isTrue(Result.isSuccess(parse(nested(64))))
      for (const depth of [66, 2000, 1e6]) {
        assert.strictEqual(failure(parse(nested(depth))).expected, "at most 64 levels")
        const objects = `${prefix}${'{"a":'.repeat(depth)}1`
        assert.strictEqual(failure(parse(objects)).expected, "at most 64 levels")
      }
      const brackets = `${prefix}["${"[".repeat(99)}\\"${"[".repeat(99)}"]`
      assert.isTrue(Result.isSuccess(parse(brackets)))
    }
  })

  it("keeps every integer of 64 bits, and is a plain number where that is exact", () => {
    const read = success(
      parse("[18446744073709551615,9007199254740993,-9223372036854775808,999999999999999,1e3]")
    )
    const wide = [2n ** 64n - 1n, 2n ** 53n + 1n, -(2n ** 63n)]
    assert.deepStrictEqual(read, [...wide, 999_999_999_999_999, 1000])
    assert.strictEqual(print(read), `[${[...wide, "999999999999999", "1000"].join()}]\n`)
    assert.strictEqual(success(parse("1".repeat(400))), Infinity)
  })

  it("has members of any name, and none that it does not name", () => {
    for (const prefix of ["", "/**/"]) {
      const read = success(parse(`${prefix}{"__proto__":{"x":1},"constructor":2}`)) as object
      assert.deepStrictEqual(Object.keys(read), ["__proto__", "constructor"])
      assert.isUndefined(Reflect.get(read, "x"))
    }
    assert.notProperty({}, "x")
  })
})

describe("reading and writing", () => {
  const values = Arbitrary.schema(Schema.Json).pipe(
    Arbitrary.map((value) => wellFormed(value as Json))
  )

  it.prop("agree, in both ways of reading", [values], ([value]) => {
    const text = print(value)
    for (const read of [success(parse(text)), lenient(text)]) assert.strictEqual(print(read), text)
    assert.deepStrictEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
    assert.match(text, /^[ -~\u007f]*\n$/)
  })

  it.prop("gives keys in their order, and escapes what is not ASCII", [Schema.String], ([key]) => {
    const text = print({ [key]: key, b: 1, a: 2 })
    assert.strictEqual(print(success(parse(text))), text)
    assert.isBelow(text.indexOf('"a":2'), text.indexOf('"b":1'))
  })
})
