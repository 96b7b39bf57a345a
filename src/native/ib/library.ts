/**
 * libibverbs and librdmacm, loaded when they are first asked for.
 *
 * Addresses are plain numbers: user space ends at 2^47 on x64 and 2^48 on arm64.
 */
import * as Effect from "effect/Effect"
import type koffi from "koffi"
import { Unsupported } from "../verbs/VerbsError.ts"

type Koffi = typeof koffi

/** The address of something native. */
export type Pointer = number

/** An integer, or a block of memory whose address is meant. */
export type Argument = number | { readonly address: Pointer }

/** A call that failed, with the `errno` that it left. */
export class NativeFailure extends Error {
  readonly call: string
  readonly errno: number

  constructor(call: string, errno: number) {
    super(`${call}: errno ${errno}`)
    this.call = call
    this.errno = errno
  }
}

const pointer = "uintptr_t"
const int = "int"

/** The functions: result and arguments. A pointer is answered by null on failure. */
const signatures = {
  ibverbs: {
    ibv_get_device_list: [pointer, [pointer]],
    ibv_free_device_list: ["void", [pointer]],
    ibv_open_device: [pointer, [pointer]],
    ibv_close_device: [int, [pointer]],
    ibv_query_device: [int, [pointer, pointer]],
    ibv_query_port: [int, [pointer, "uint8_t", pointer]],
    _ibv_query_gid_table: ["intptr_t", [pointer, pointer, "size_t", "uint32_t", "size_t"]],
    ibv_alloc_pd: [pointer, [pointer]],
    ibv_dealloc_pd: [int, [pointer]],
    ibv_reg_mr: [pointer, [pointer, pointer, "size_t", int]],
    ibv_dereg_mr: [int, [pointer]],
    ibv_create_comp_channel: [pointer, [pointer]],
    ibv_destroy_comp_channel: [int, [pointer]],
    ibv_create_cq: [pointer, [pointer, int, pointer, pointer, int]],
    ibv_destroy_cq: [int, [pointer]],
    ibv_get_cq_event: [int, [pointer, pointer, pointer]],
    ibv_ack_cq_events: ["void", [pointer, "unsigned int"]],
    ibv_create_qp: [pointer, [pointer, pointer]],
    ibv_modify_qp: [int, [pointer, pointer, int]],
    ibv_destroy_qp: [int, [pointer]],
    ibv_get_async_event: [int, [pointer, pointer]],
    ibv_ack_async_event: ["void", [pointer]]
  },
  rdmacm: {
    rdma_create_event_channel: [pointer, []],
    rdma_destroy_event_channel: ["void", [pointer]],
    rdma_create_id: [int, [pointer, pointer, pointer, int]],
    rdma_destroy_id: [int, [pointer]],
    rdma_bind_addr: [int, [pointer, pointer]],
    rdma_resolve_addr: [int, [pointer, pointer, pointer, int]],
    rdma_resolve_route: [int, [pointer, int]],
    rdma_listen: [int, [pointer, int]],
    rdma_connect: [int, [pointer, pointer]],
    rdma_accept: [int, [pointer, pointer]],
    rdma_establish: [int, [pointer]],
    rdma_get_src_port: ["uint16_be_t", [pointer]],
    rdma_reject: [int, [pointer, pointer, "uint8_t"]],
    rdma_notify: [int, [pointer, int]],
    rdma_disconnect: [int, [pointer]],
    rdma_init_qp_attr: [int, [pointer, pointer, pointer]],
    rdma_get_cm_event: [int, [pointer, pointer]],
    rdma_ack_cm_event: [int, [pointer]]
  },
  c: {
    if_indextoname: [pointer, ["unsigned int", pointer]],
    dup2: [int, [int, int]]
  }
} as const

type Signatures = typeof signatures

/** Names of the functions of all three libraries. */
export type NativeFunction = { [L in keyof Signatures]: keyof Signatures[L] }[keyof Signatures] &
  string

type AsyncFunction = ((...args: ReadonlyArray<number>) => number) & {
  readonly async: (
    ...args: readonly [...ReadonlyArray<number>, (error: unknown, result: number) => void]
  ) => void
}

/** koffi's own message does not name the file. */
const loadFile = (koffi: Koffi, file: string) => {
  try {
    return koffi.load(file)
  } catch (error) {
    throw new Error(`${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** The libraries of one process. */
export class Libraries {
  readonly koffi: Koffi
  readonly #functions = new Map<string, AsyncFunction>()
  /** Arguments of calls under way: a block must live until its call has returned. */
  readonly #inFlight = new Set<ReadonlyArray<Argument>>()
  readonly #prototypes: Readonly<Record<"post" | "poll" | "notify", ReturnType<Koffi["proto"]>>>

  constructor(koffi: Koffi, files: Readonly<Record<keyof Signatures, string>>) {
    this.koffi = koffi
    for (const [library, functions] of Object.entries(signatures)) {
      const handle = loadFile(koffi, files[library as keyof Signatures])
      for (const [name, [result, args]] of Object.entries(functions)) {
        this.#functions.set(name, handle.func(name, result, [...args]) as unknown as AsyncFunction)
      }
    }
    this.#prototypes = {
      post: koffi.proto(int, [pointer, pointer, pointer]),
      poll: koffi.proto(int, [pointer, int, pointer]),
      notify: koffi.proto(int, [pointer, int])
    }
  }

  /** Calls on this thread: only what never waits. The result is the function's. */
  now(name: NativeFunction, ...args: ReadonlyArray<number>): number {
    return this.#functions.get(name)!(...args)
  }

  /**
   * Calls on a thread of libuv's pool. The promise rejects with a `NativeFailure` if the function
   * says that it failed: by null, by -1 with `errno`, or, of libibverbs, by a positive `errno`.
   */
  later(name: NativeFunction, ...args: ReadonlyArray<Argument>): Promise<number> {
    const call = this.#functions.get(name)!
    const values = args.map((value) => (typeof value === "number" ? value : value.address))
    this.#inFlight.add(args)
    return new Promise((resolve, reject) =>
      call.async(...values, (error, result) => {
        this.#inFlight.delete(args)
        if (error !== null) return reject(error)
        const errno = this.#errnoOf(name, result)
        if (errno === undefined) resolve(result)
        else reject(new NativeFailure(name, errno))
      })
    )
  }

  /** The `errno` of the last call on this thread. */
  get errno(): number {
    return this.koffi.errno()
  }

  /** A function at an address that is stored in a struct, as one to call. */
  functionAt(address: Pointer, prototype: "post" | "poll" | "notify"): NativeOperation {
    const target = this.pointerAt(address)
    return this.koffi.decode(BigInt(target), this.#prototypes[prototype]) as NativeOperation
  }

  pointerAt(address: Pointer): Pointer {
    return Number(this.koffi.decode.uint64(BigInt(address)))
  }

  uint32At(address: Pointer): number {
    return this.koffi.decode.uint32(BigInt(address))
  }

  textAt(address: Pointer): string {
    return this.koffi.decode.string(BigInt(address))
  }

  /** A copy, which stays when what lies there is freed. */
  bytesAt(address: Pointer, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.koffi.view(BigInt(address), length)).slice()
  }

  addressOf(memory: SharedArrayBuffer): Pointer {
    return Number(this.koffi.address(memory))
  }

  #errnoOf(name: NativeFunction, result: number): number | undefined {
    const returnsPointer = resultOf.get(name) === pointer
    if (returnsPointer) return result === 0 ? this.errno : undefined
    if (result === -1) return this.errno
    if (name.startsWith("ibv_") && result > 0) return result
    return result < 0 ? -result : undefined
  }
}

/** A function of the driver that posts or polls. */
export type NativeOperation = (object: Pointer, second: number, third?: Pointer) => number

const resultOf: ReadonlyMap<string, string> = new Map(
  Object.values(signatures).flatMap((functions) =>
    Object.entries(functions).map(([name, [result]]) => [name, result] as const)
  )
)

const files = { ibverbs: "libibverbs.so.1", rdmacm: "librdmacm.so.1", c: "libc.so.6" }

const unsupported = (feature: string, detail: string) =>
  new Unsupported({ provider: "ib", feature, detail })

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

const loadKoffi = Effect.tryPromise({
  try: () => import("koffi"),
  catch: (error) =>
    unsupported("koffi", `npm install koffi, which calls native libraries (${messageOf(error)})`)
})

/** Loads koffi and the libraries. Names of other files are for tests. */
export const loadFrom = Effect.fnUntraced(function* (
  names: Readonly<Record<keyof Signatures, string>>
) {
  const { arch, platform } = process
  if (platform !== "linux" || (arch !== "x64" && arch !== "arm64")) {
    return yield* unsupported(
      "platform",
      `Linux on x64 or arm64 is needed, this is ${platform} ${arch}`
    )
  }
  const { default: koffi } = yield* loadKoffi
  return yield* Effect.try({
    try: () => new Libraries(koffi, names),
    catch: (error) =>
      unsupported(
        "libibverbs and librdmacm",
        `install rdma-core (Debian: libibverbs1 librdmacm1 ibverbs-providers): ${messageOf(error)}`
      )
  })
})

let loaded: Libraries | undefined

/** The libraries of this process, loaded at the first call. */
export const load: Effect.Effect<Libraries, Unsupported> = Effect.suspend(() =>
  loaded === undefined
    ? Effect.tap(loadFrom(files), (libraries) => Effect.sync(() => (loaded = libraries)))
    : Effect.succeed(loaded)
)
