/** What makes requests belong together. */
import { hash } from "node:crypto"

/** Longer keys are remembered by their digest: how much memory a session takes is not for the client to say. */
const longest = 128

/** The same session with another model is another one: what it has in a backend's cache is of no use there. */
export const sessionKey = (header: string | undefined, model: string | undefined): string | undefined => {
  if (header === undefined || header === "") return undefined
  const key = `${header}\u0000${model ?? ""}`
  return key.length <= longest ? key : hash("sha256", key, "hex")
}
