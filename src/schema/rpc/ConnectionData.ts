/**
 * The private data of a connection: how large a message each side sends and receives inline, and
 * whether its keys may be invalidated remotely (RFC 8797). Behind them this library adds what only
 * its own kind reads: the sender's incarnation and the calls it takes in the reverse direction.
 */

/** The part that only ends of this library send. */
export interface Extension {
  /** 16 random bytes that each incarnation of a client or server draws anew. */
  readonly instance: Uint8Array
  /** Calls in the reverse direction that the sender takes at once; 0 means none. */
  readonly reverseCalls: number
}

export interface ConnectionData {
  /** The longest message that the sender sends inline, in bytes. */
  readonly sendBytes: number
  /** The longest message that it receives inline. */
  readonly receiveBytes: number
  /** Whether a Send to it may invalidate one of its keys. */
  readonly remoteInvalidate: boolean
  readonly extension: Extension | undefined
}

/** Values for a peer that sends none. */
export const unsaid: ConnectionData = {
  sendBytes: 1_024,
  receiveBytes: 1_024,
  remoteInvalidate: false,
  extension: undefined
}

const unitBytes = 1_024
/** The longest inline message that can be said. */
export const maxInlineBytes = 256 * unitBytes

const magic = 0xf6ab_0e18
const version = 1
const rfcBytes = 8
/** "hfst": behind the RFC's bytes, so that other peers never look at it. */
const extensionMagic = 0x6866_7374
const instanceBytes = 16
const extensionBytes = 4 + instanceBytes + 4

const sizeCode = (bytes: number): number => {
  if (bytes % unitBytes !== 0 || bytes < unitBytes || bytes > maxInlineBytes) {
    throw new RangeError(`an inline size of ${bytes} bytes; it is 1 to 256 times ${unitBytes}`)
  }
  return bytes / unitBytes - 1
}

/**
 * The bytes of private data. A size that cannot be said and an instance of another length are
 * mistakes of the caller.
 */
export const encode = (data: ConnectionData): Uint8Array<ArrayBuffer> => {
  const { extension } = data
  const bytes = new Uint8Array(rfcBytes + (extension === undefined ? 0 : extensionBytes))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, magic)
  bytes[4] = version
  bytes[5] = data.remoteInvalidate ? 1 : 0
  bytes[6] = sizeCode(data.sendBytes)
  bytes[7] = sizeCode(data.receiveBytes)
  if (extension !== undefined) {
    if (extension.instance.length !== instanceBytes) {
      throw new RangeError(`an instance has ${instanceBytes} bytes`)
    }
    view.setUint32(rfcBytes, extensionMagic)
    bytes.set(extension.instance, rfcBytes + 4)
    view.setUint32(rfcBytes + 4 + instanceBytes, extension.reverseCalls)
  }
  return bytes
}

const decodeExtension = (view: DataView, at: number): Extension | undefined => {
  if (view.byteLength - at < extensionBytes || view.getUint32(at) !== extensionMagic) {
    return undefined
  }
  const from = view.byteOffset + at + 4
  return {
    instance: new Uint8Array(view.buffer.slice(from, from + instanceBytes)),
    reverseCalls: view.getUint32(at + 4 + instanceBytes)
  }
}

/**
 * Reads private data, wherever in it the RFC's bytes are: a transport may put bytes of its own
 * before them and zeros behind them. Without them, or in another version, nothing was said.
 */
export const decode = (privateData: Uint8Array): ConnectionData => {
  const view = new DataView(privateData.buffer, privateData.byteOffset, privateData.byteLength)
  for (let at = 0; at + rfcBytes <= view.byteLength; at++) {
    if (view.getUint32(at) !== magic) continue
    if (view.getUint8(at + 4) !== version) return unsaid
    return {
      remoteInvalidate: (view.getUint8(at + 5) & 1) === 1,
      sendBytes: (view.getUint8(at + 6) + 1) * unitBytes,
      receiveBytes: (view.getUint8(at + 7) + 1) * unitBytes,
      extension: decodeExtension(view, at + rfcBytes)
    }
  }
  return unsaid
}

/** Returns the longest inline call and the longest inline reply between two ends. */
export const thresholds = (
  client: ConnectionData,
  server: ConnectionData
): { readonly callBytes: number; readonly replyBytes: number } => ({
  callBytes: Math.min(client.sendBytes, server.receiveBytes),
  replyBytes: Math.min(server.sendBytes, client.receiveBytes)
})
