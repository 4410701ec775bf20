/** Who asks: keys of clients, and the token of the admin surface. */

import { timingSafeEqual } from "node:crypto"
import { Redacted } from "effect"
import type { ApiKey } from "../domain/ApiKey.ts"
import { InvalidApiKey } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { digestOfSecret, type Snapshot } from "../registry/Registry.ts"

type Header = (name: string) => string | undefined

/** `Authorization: Bearer KEY`, `x-api-key` or `api-key`. */
const credentialOf = (header: Header): string | undefined => {
  const authorization = header("authorization")
  if (authorization !== undefined) return /^bearer +(\S.*)$/i.exec(authorization)?.[1]?.trim()
  return header("x-api-key") ?? header("api-key")
}

/** Whether this listener asks for a key. */
export const asksForKey = (snapshot: Snapshot, listener: Listener): boolean => listener.auth ?? snapshot.keys.size > 0

/**
 * Whose key it is. Keys are looked up by their SHA-256, so how long it takes tells nothing about how near a guess was:
 * the digest of a wrong key is as far from every known one as any other.
 */
export const authenticate = (snapshot: Snapshot, header: Header): ApiKey | InvalidApiKey => {
  const credential = credentialOf(header)
  if (credential === undefined || credential === "") return refuse("You did not provide an API key.")
  return snapshot.keys.get(digestOfSecret(credential)) ?? refuse("Incorrect API key provided.")
}

const refuse = (message: string) => new InvalidApiKey({ message })

const sameDigest = (a: string, b: string): boolean =>
  timingSafeEqual(Buffer.from(a, "latin1"), Buffer.from(b, "latin1"))

/** The admin token; without one the surface is open, which only loopback may be. */
export const authenticateAdmin = ({ config }: Snapshot, header: Header): InvalidApiKey | undefined => {
  const { token } = config.admin
  if (token === undefined) return undefined
  const credential = credentialOf(header)
  if (credential === undefined) return refuse("This needs the admin token.")
  const matches = sameDigest(digestOfSecret(credential), digestOfSecret(Redacted.value(token)))
  return matches ? undefined : refuse("Incorrect admin token provided.")
}
