/** Derives from the encoded side of a schema how its values are read and written in XDR. */
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type { XdrReader, XdrWriter } from "../Xdr.ts"

/** Bytes of opaque data among others, without their length and padding. */
export interface BulkRange {
  readonly offset: number
  readonly length: number
}

export interface Writing {
  readonly writer: XdrWriter
  /** Bulk data that was written, in order. */
  readonly bulk: Array<BulkRange>
}

export interface Reading {
  readonly reader: XdrReader
  /** Bulk data that came beside the other bytes; an empty one is among them. */
  readonly bulk: ReadonlyArray<Uint8Array>
  /** Bulk data that was read. */
  bulkRead: number
}

/** One part of a value on the wire. */
export interface Item<Value = unknown> {
  /** The longest it can be, without its bulk data. */
  readonly maxBytes: number
  /** The longest of each bulk data in it. */
  readonly bulk: ReadonlyArray<number>
  // A method, so that an item of any value is one of unknown ones.
  write(value: Value, to: Writing): void
  /** Returns any value once the reader has failed. */
  read(from: Reading): Value
}

/** The meaning of an annotation for the schema node that has it. */
export type Note =
  | { readonly _tag: "Item"; readonly item: Item }
  /** An array whose length, or whose end, is on the wire. */
  | { readonly _tag: "Many"; readonly max: number; readonly isList: boolean }
  /** A struct of a switch. The default one begins with its discriminant. */
  | { readonly _tag: "Arm"; readonly discriminant: number | "default" }

const noteKey = "handfast/xdr"

/** The annotation that carries a note. */
export const noted = (note: Note): Record<string, Note> => ({ [noteKey]: note })

const noteOf = (ast: SchemaAST.AST) => SchemaAST.resolveAt<Note>(noteKey)(ast)

const fixed = (maxBytes: number): Pick<Item, "maxBytes" | "bulk"> => ({ maxBytes, bulk: [] })

const padded = (length: number): number => (length + 3) & ~3

export const uint32: Item<number> = {
  ...fixed(4),
  write: (value, { writer }) => void writer.uint32(value),
  read: ({ reader }) => reader.uint32()
}

export const int32: Item<number> = { ...uint32, read: ({ reader }) => reader.int32() }

export const uint64: Item<bigint> = {
  ...fixed(8),
  write: (value, { writer }) => void writer.uint64(value),
  read: ({ reader }) => reader.uint64()
}

export const int64: Item<bigint> = {
  ...uint64,
  read: ({ reader }) => BigInt.asIntN(64, reader.uint64())
}

const bits = new DataView(new ArrayBuffer(8))

export const float64: Item<number> = {
  ...fixed(8),
  write: (value, { writer }) => {
    bits.setFloat64(0, value)
    writer.uint64(bits.getBigUint64(0))
  },
  read: ({ reader }) => {
    bits.setBigUint64(0, reader.uint64())
    return bits.getFloat64(0)
  }
}

const boolean: Item<boolean> = {
  ...fixed(4),
  write: (value, { writer }) => void writer.boolean(value),
  read: ({ reader }) => reader.boolean()
}

export const text = (maxBytes: number): Item<string> => ({
  ...fixed(4 + padded(maxBytes)),
  write: (value, { writer }) => void writer.string(value),
  read: ({ reader }) => reader.string(maxBytes)
})

export const fixedOpaque = (bytes: number): Item<Uint8Array> => ({
  ...fixed(padded(bytes)),
  write: (value, { writer }) => void writer.fixed(value),
  read: ({ reader }) => Uint8Array.from(reader.fixed(bytes))
})

export const opaque = (maxBytes: number): Item<Uint8Array> => ({
  ...fixed(4 + padded(maxBytes)),
  write: (value, { writer }) => void writer.opaque(value),
  read: ({ reader }) => Uint8Array.from(reader.opaque(maxBytes))
})

/** An opaque that may come beside the other bytes: then its length alone is among them. */
export const bulk = (maxBytes: number): Item<Uint8Array> => ({
  maxBytes: 4,
  bulk: [maxBytes],
  write: (value, to) => {
    to.bulk.push({ offset: to.writer.length + 4, length: value.length })
    to.writer.opaque(value)
  },
  read: (from) => {
    const { reader } = from
    const beside = from.bulk[from.bulkRead++]
    if (beside === undefined || beside.length === 0) {
      return Uint8Array.from(reader.opaque(maxBytes))
    }
    if (reader.uint32() !== beside.length) reader.failed = true
    return beside
  }
})

const allBytes = ({ bulk, maxBytes }: Item): number =>
  bulk.reduce((sum, bytes) => sum + padded(bytes), maxBytes)

/** The number of bulk data depends on the array, so they count as its other bytes. */
const counted = (item: Item, max: number): Item<ReadonlyArray<unknown>> => ({
  ...fixed(4 + max * allBytes(item)),
  write: (values, to) => {
    to.writer.uint32(values.length)
    for (const value of values) item.write(value, to)
  },
  read: (from) => {
    const count = from.reader.uint32()
    if (count > max) from.reader.failed = true
    const values: Array<unknown> = []
    while (!from.reader.failed && values.length < count) values.push(item.read(from))
    return values
  }
})

const list = (item: Item, max: number): Item<ReadonlyArray<unknown>> => ({
  ...fixed(4 + max * (4 + allBytes(item))),
  write: (values, to) => {
    for (const value of values) {
      to.writer.boolean(true)
      item.write(value, to)
    }
    to.writer.boolean(false)
  },
  read: (from) => {
    const values: Array<unknown> = []
    while (from.reader.boolean()) {
      if (values.length === max) from.reader.failed = true
      values.push(item.read(from))
    }
    return values
  }
})

const optional = (item: Item): Item => ({
  maxBytes: 4 + item.maxBytes,
  bulk: item.bulk,
  write: (value, to) => {
    to.writer.boolean(value !== undefined)
    if (value !== undefined) item.write(value, to)
  },
  read: (from) => (from.reader.boolean() ? item.read(from) : undefined)
})

const constant = (value: unknown): Item => ({
  ...fixed(0),
  write: () => undefined,
  read: () => value
})

/** Numbers of which only some are known. */
const known = (values: ReadonlyArray<number>): Item<number> => ({
  ...int32,
  read: ({ reader }) => {
    const value = reader.int32()
    if (!values.includes(value)) reader.failed = true
    return value
  }
})

interface Field {
  readonly name: string
  readonly item: Item
}

const struct = (fields: ReadonlyArray<Field>): Item<Record<string, unknown>> => ({
  maxBytes: fields.reduce((sum, { item }) => sum + item.maxBytes, 0),
  bulk: fields.flatMap(({ item }) => item.bulk),
  write: (value, to) => {
    for (const { item, name } of fields) item.write(value[name], to)
  },
  read: (from) => Object.fromEntries(fields.map(({ item, name }) => [name, item.read(from)]))
})

const tuple = (items: ReadonlyArray<Item>): Item<ReadonlyArray<unknown>> => ({
  maxBytes: items.reduce((sum, { maxBytes }) => sum + maxBytes, 0),
  bulk: items.flatMap(({ bulk }) => bulk),
  write: (values, to) => {
    for (const [index, item] of items.entries()) item.write(values[index], to)
  },
  read: (from) => items.map((item) => item.read(from))
})

interface Arm {
  readonly discriminant: number | "default"
  readonly tag: string
  readonly fields: ReadonlyArray<Field>
}

const switchOf = (arms: ReadonlyArray<Arm>): Item<Record<string, unknown>> => {
  const all = arms.map((arm) => ({ ...arm, item: struct(arm.fields) }))
  const byTag = new Map(all.map((arm) => [arm.tag, arm]))
  const byNumber = new Map(all.map((arm) => [arm.discriminant, arm]))
  const longest = Math.max(...all.map(({ item }) => item.bulk.length))
  return {
    maxBytes: 4 + Math.max(...all.map(({ item }) => item.maxBytes)),
    bulk: Array.from({ length: longest }, (_, index) =>
      Math.max(...all.map(({ item }) => item.bulk[index] ?? 0))
    ),
    write: (value, to) => {
      const { discriminant, fields, item } = byTag.get(String(value["_tag"]))!
      if (discriminant !== "default") to.writer.uint32(discriminant)
      else {
        const first = Number(value[fields[1]!.name])
        if (byNumber.has(first)) throw new RangeError(`${first} belongs to another arm`)
      }
      item.write(value, to)
    },
    read: (from) => {
      const { reader } = from
      const discriminant = reader.peek() | 0
      const arm = byNumber.get(discriminant)
      if (arm !== undefined) reader.uint32()
      const found = arm ?? byNumber.get("default")
      if (found === undefined) reader.failed = true
      return found === undefined ? {} : found.item.read(from)
    }
  }
}

/** Derives the item of a schema. Throws, naming the place, if XDR cannot express it. */
export const itemOf = (schema: Schema.Constraint, name: string): Item =>
  derive(SchemaAST.toEncoded(schema.ast), name)

const derive = (ast: SchemaAST.AST, path: string): Item => {
  const note = noteOf(ast)
  if (note?._tag === "Item") return note.item
  switch (ast._tag) {
    case "Boolean":
      return boolean
    case "Void":
    case "Undefined":
      return constant(undefined)
    case "Literal":
      if (typeof ast.literal === "string") return constant(ast.literal)
      if (typeof ast.literal === "number") return known([ast.literal])
      break
    case "Objects":
      if (ast.indexSignatures.length === 0) return struct(fieldsOf(ast, path))
      break
    case "Arrays":
      if (note?._tag === "Many") {
        const item = derive(ast.rest[0]!, `${path}[]`)
        return note.isList ? list(item, note.max) : counted(item, note.max)
      }
      if (ast.rest.length === 0) {
        return tuple(ast.elements.map((element, at) => derive(element, `${path}[${at}]`)))
      }
      break
    case "Union":
      return deriveUnion(ast, path)
  }
  throw new TypeError(`${path}: XDR has no ${ast._tag} without an item of XdrSchema`)
}

const fieldsOf = (ast: SchemaAST.Objects, path: string): ReadonlyArray<Field> =>
  ast.propertySignatures.map(({ name, type }) => {
    const at = `${path}.${String(name)}`
    if (SchemaAST.isOptional(type)) throw new TypeError(`${at}: XDR leaves no field out`)
    return { name: String(name), item: derive(type, at) }
  })

const deriveUnion = ({ types }: SchemaAST.Union, path: string): Item => {
  const [first, second] = types
  if (types.length === 2 && second!._tag === "Undefined") return optional(derive(first!, path))
  const literals = types.map((type) => (type._tag === "Literal" ? type.literal : undefined))
  if (literals.every((literal) => typeof literal === "number")) {
    return known(literals)
  }
  const arms = types.map((type) => {
    const note = noteOf(type)
    if (note?._tag !== "Arm" || type._tag !== "Objects") {
      throw new TypeError(`${path}: XDR has no union beside XdrSchema.Switch`)
    }
    const [tag] = type.propertySignatures
    if (tag?.name !== "_tag" || tag.type._tag !== "Literal") {
      throw new TypeError(`${path}: an arm begins with its _tag`)
    }
    const fields = fieldsOf(type, path)
    return { discriminant: note.discriminant, tag: String(tag.type.literal), fields }
  })
  return switchOf(arms)
}
