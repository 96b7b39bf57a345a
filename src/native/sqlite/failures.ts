/** Maps SQLite's exceptions to the few reasons that a caller can act upon. */
import { accessSync, constants } from "node:fs"
import { dirname } from "node:path"
import type { Failure, Refusal } from "./protocol.ts"

const error = 1
const busy = 5
const locked = 6
const readOnly = 8
const ioError = 10
const corrupt = 11
const full = 13
const cannotOpen = 14
const notADatabase = 26

/** A failure of one operation on an open file, thrown through SQLite's transaction. */
export class OperationFailed extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.kind === "corrupt" || failure.kind === "storage" ? failure.detail : failure.kind)
    this.failure = failure
  }
}

/**
 * A record that differs from the stored one. Its place may be damaged, too: 0 stands for one that
 * is not a whole number.
 */
export const corruptRecord = (
  record: Extract<Failure, { kind: "corrupt" }>["record"],
  actor: string,
  seq: unknown,
  detail: string
) => {
  const place = Number.isSafeInteger(seq) ? (seq as number) : 0
  return new OperationFailed({ kind: "corrupt", record, actor, seq: place, detail })
}

/**
 * An operation of a transaction met damage. It may be half done, and SQLite commits nothing after a
 * damaged page, so the transaction is undone and run again without this operation.
 */
export class DamageMet extends Error {
  readonly operation: string
  readonly failure: Failure
  constructor(operation: string, failure: Failure) {
    super(`${operation} met damage`)
    this.operation = operation
    this.failure = failure
  }
}

/** A file that must not be used, thrown while it is opened. */
export class FileRefused extends Error {
  readonly refusal: Refusal
  constructor(reason: Refusal["reason"], detail: string) {
    super(detail)
    this.refusal = { reason, detail }
  }
}

/** The primary result code of SQLite, or -1 if something else was thrown. */
const resultCode = (cause: unknown): number =>
  cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number"
    ? cause.errcode & 255
    : -1

const detailOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))

/**
 * Whether SQLite found the file's structure damaged, or a number out of range, which is never
 * stored.
 */
export const isDamage = (cause: unknown) =>
  resultCode(cause) === corrupt ||
  (cause instanceof Error && "code" in cause && cause.code === "ERR_OUT_OF_RANGE")

/** Whether `refusalOf` can explain it: the file is the cause, and not a function. */
export const isRefusal = (cause: unknown) =>
  cause instanceof FileRefused ||
  resultCode(cause) >= 0 ||
  (cause instanceof Error && "syscall" in cause)

/** Why an operation on an open file failed. */
export const failureOf = (cause: unknown): Failure => {
  if (cause instanceof OperationFailed || cause instanceof DamageMet) return cause.failure
  if (isDamage(cause)) return corruptRecord("file", "", 0, detailOf(cause)).failure
  const code = resultCode(cause)
  return { kind: "storage", reason: reasonOf(code), detail: detailOf(cause) }
}

const reasonOf = (code: number) => {
  switch (code) {
    case full:
      return "disk-full"
    case readOnly:
      return "read-only"
    case busy:
    case locked:
      return "locked"
    case -1:
      return "unknown"
    default:
      return "io"
  }
}

/**
 * The failure of one operation in a transaction, which goes on without it. Throws `DamageMet` if
 * the transaction cannot go on, and `cause` itself if it fails all operations.
 */
export const failureInTransaction = (operation: string, cause: unknown): Failure => {
  const isRefused = cause instanceof OperationFailed
  if (!isRefused && !isDamage(cause)) throw cause
  const failure = failureOf(cause)
  if (failure.kind === "corrupt") throw new DamageMet(operation, failure)
  return failure
}

const isDenied = (path: string, mode: number): boolean => {
  try {
    accessSync(path, mode)
    return false
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined
    return code === "EACCES" || code === "EROFS" || code === "EPERM"
  }
}

/**
 * Finds out why a file could not be opened or written beside, which SQLite does not report: by the
 * permissions of the file and its directory. A file that cannot be read is not "read-only".
 */
const placeRefuses = (file: string): Refusal["reason"] => {
  if (isDenied(file, constants.R_OK)) return "io"
  const isReadOnly = isDenied(dirname(file), constants.W_OK) || isDenied(file, constants.W_OK)
  return isReadOnly ? "read-only" : "io"
}

/** Why a file could not be opened. */
export const refusalOf = (file: string, cause: unknown): Refusal => {
  if (cause instanceof FileRefused) return cause.refusal
  const detail = detailOf(cause)
  if (cause instanceof OperationFailed || isDamage(cause)) return { reason: "damaged", detail }
  switch (resultCode(cause)) {
    case busy:
    case locked:
      return {
        reason: "locked",
        detail: "another journal, or another SQLite program, has this file locked"
      }
    case readOnly:
      return { reason: "read-only", detail }
    // The file is a journal by its header, but its own layout is not understood.
    case error:
    case corrupt:
      return { reason: "damaged", detail }
    case full:
      return { reason: "disk-full", detail }
    case notADatabase:
      return { reason: "not-a-journal", detail }
    case ioError:
    case cannotOpen:
      return { reason: placeRefuses(file), detail }
    default:
      return { reason: "io", detail }
  }
}
