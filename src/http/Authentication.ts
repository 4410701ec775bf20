/** Which client asks: keys of clients, and the token of the admin API. */

import { timingSafeEqual } from "node:crypto"
import { Redacted, Result } from "effect"
import { type ApiKey, digestOfSecret } from "../domain/ApiKey.ts"
import { InvalidApiKey } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import type { Snapshot } from "../registry/Registry.ts"

type Header = (name: string) => string | undefined

/** What `Authorization: Bearer KEY` has; `undefined` where the header is absent or has another form. */
const bearerOf = (header: Header): string | undefined => {
  const authorization = header("authorization")
  return authorization === undefined ? undefined : /^bearer[ \t]+(\S.*)$/i.exec(authorization)?.[1]?.trim()
}

/**
 * What `know` knows of the first credential that it knows: `Authorization: Bearer KEY`, `x-api-key`, `api-key`, in this
 * order. So what some client or proxy adds in another form, such as `Basic`, does not hide the key beside it.
 */
const firstKnown = <A>(header: Header, know: (credential: string) => A | undefined): A | undefined => {
  const tried = (credential: string | undefined) => (credential ? know(credential) : undefined)
  return tried(bearerOf(header)) ?? tried(header("x-api-key")) ?? tried(header("api-key"))
}

/** Whether this listener asks for a key. */
export const asksForKey = (snapshot: Snapshot, listener: Listener): boolean => listener.auth ?? snapshot.keys.size > 0

/**
 * Whose key it is. Keys are looked up by their SHA-256, so how long it takes tells nothing about how near a guess was:
 * the digest of a wrong key is as far from every known one as any other.
 */
export const authenticate = (snapshot: Snapshot, header: Header): Result.Result<ApiKey, InvalidApiKey> => {
  const key = firstKnown(header, (credential) => snapshot.keys.get(digestOfSecret(credential)))
  return key === undefined ? Result.fail(refusal(header, "API key")) : Result.succeed(key)
}

const sameDigest = (a: string, b: string): boolean =>
  timingSafeEqual(Buffer.from(a, "latin1"), Buffer.from(b, "latin1"))

/** The admin token; without one the admin API is open, which only loopback may be. */
export const authenticateAdmin = ({ config }: Snapshot, header: Header): Result.Result<void, InvalidApiKey> => {
  const { token } = config.admin
  if (token === undefined) return Result.void
  const expected = digestOfSecret(Redacted.value(token))
  const isToken = (credential: string) => sameDigest(digestOfSecret(credential), expected) || undefined
  return firstKnown(header, isToken) === true ? Result.void : Result.fail(refusal(header, "admin token"))
}

/** Says what is wrong with the form of what was sent, and how it must be sent; never what was sent. */
const refusal = (header: Header, secret: "API key" | "admin token"): InvalidApiKey => {
  const authorization = header("authorization") || undefined
  const sent = bearerOf(header) ?? (header("x-api-key") || header("api-key") || undefined)
  const form = `Authorization: Bearer ${secret === "API key" ? "KEY" : "TOKEN"}`
  if (sent !== undefined) return new InvalidApiKey({ message: problemOf(sent, secret, form) })
  if (authorization === undefined) {
    return new InvalidApiKey({ message: `You did not provide an ${secret}. Send it as ${form}` })
  }
  const what = /^bearer\s*$/i.test(authorization) ? "nothing after Bearer" : "another form than Bearer"
  return new InvalidApiKey({ message: `The Authorization header has ${what}. Send the ${secret} as ${form}` })
}

const problemOf = (sent: string, secret: string, form: string): string => {
  if (/^bearer(\s|$)/i.test(sent))
    return `The ${secret} begins with another Bearer. Send it as ${form}, or alone in x-api-key`
  if (/^["'`<{[(].*["'`>}\])]$/.test(sent)) {
    return `The ${secret} is in quotes or brackets, which are not part of it. Send it without them, as ${form}`
  }
  return `Incorrect ${secret} provided.`
}
