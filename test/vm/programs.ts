/**
 * Programs of `test/vm/ib` as JavaScript, for the virtual machine.
 *
 * Node strips types by WebAssembly. On emulated processors that takes most of a program's time, and
 * now and then V8 ends there by a check of its own, when it compiles that WebAssembly anew.
 */
import { mkdtempSync, readdirSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"

const sources = fileURLToPath(new URL("./ib/", import.meta.url))
const modules = fileURLToPath(new URL("../../node_modules", import.meta.url))

/** Makes a folder with the programs, which the machine sees. */
export const makePrograms = async (): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-vm-programs-"))
  symlinkSync(modules, join(folder, "node_modules"))
  const bundle = await rolldown({
    input: readdirSync(sources).map((file) => join(sources, file)),
    platform: "node",
    external: ["koffi"],
    logLevel: "silent",
    // An example that a program takes parts of is not the program.
    transform: { define: { "import.meta.main": "false" } }
  })
  await bundle.write({ dir: folder, format: "esm", entryFileNames: "[name].mjs" })
  await bundle.close()
  return folder
}
