/**
 * A self-signed certificate with a common name of any length, which no tool makes.
 */
import { generateKeyPairSync, sign } from "node:crypto"

const der = (tag: number, ...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(parts)
  const size = body.length
  const length =
    size < 128
      ? [size]
      : size < 65_536
        ? [0x82, size >> 8, size & 0xff]
        : [0x83, size >> 16, (size >> 8) & 0xff, size & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

const sequence = (...parts: ReadonlyArray<Uint8Array>): Buffer => der(0x30, ...parts)
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex")

const ecdsaWithSha256 = sequence(hex("06 08 2a 86 48 ce 3d 04 03 02"))
const commonName = hex("06 03 55 04 03")

/** The certificate and its key as PEM texts. */
export const certificateOf = (name: string) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const subject = sequence(der(0x31, sequence(commonName, der(0x0c, Buffer.from(name)))))
  const validity = sequence(
    der(0x17, Buffer.from("200101000000Z")),
    der(0x17, Buffer.from("491231235959Z"))
  )
  const content = sequence(
    hex("a0 03 02 01 02"),
    hex("02 01 01"),
    ecdsaWithSha256,
    subject,
    validity,
    subject,
    publicKey.export({ type: "spki", format: "der" })
  )
  const signature = Buffer.concat([hex("00"), sign("sha256", content, privateKey)])
  const certificate = sequence(content, ecdsaWithSha256, der(0x03, signature))
  const lines = certificate.toString("base64").replaceAll(/.{64}/g, "$&\n")
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string
  }
}
