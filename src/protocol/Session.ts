/** What makes requests belong together: a session that the client names, else the user, else the address. */
import { hash } from "node:crypto"
import { Result } from "effect"
import { memoize } from "effect/Function"
import { compileRegExp, type LinearRegExp } from "../domain/LinearRegExp.ts"
import type { StickySettings } from "../domain/Pool.ts"
import type { BodyOutline } from "./BodyOutline.ts"
import { maxSearchedChars, minSearchedChars } from "./SaidTexts.ts"

export interface Client {
  /** `X-Session-Key`. */
  readonly session: string | undefined
  /** What the body says, where it has a known form. */
  readonly outline: BodyOutline | undefined
  readonly address: string
}

/** Longer keys are remembered by their digest: how much memory a session takes is not for the client to say. */
const maxSessionKeyChars = 128

/** Characters of a user's name; longer ones that begin alike are one user. */
const maxUserChars = 16_384

export const makeSessions = () => {
  const patternsOf = memoize((settings: StickySettings) =>
    // What does not compile is refused when the configuration is loaded.
    settings.userPatterns.flatMap((source) => {
      const pattern = compileRegExp(source)
      return Result.isFailure(pattern) ? [] : [pattern.success]
    })
  )

  /**
   * The key under which a session is remembered; `undefined` where nothing makes the request belong to others. The same
   * session with another model is another one: what it has in a backend's cache is of no use there. `model` is what
   * backends are asked for: whatever it is called by clients, the cache is the same.
   */
  return (settings: StickySettings, client: Client, model: string | undefined): string | undefined => {
    for (const by of settings.by) {
      const found =
        by === "header"
          ? client.session
          : by === "ip"
            ? client.address
            : client.outline && userOf(client.outline, patternsOf(settings))
      if (found === undefined || found === "") continue
      const key = `${by}:${found}\u0000${model ?? ""}`
      return key.length <= maxSessionKeyChars ? key : hash("sha256", key, "hex")
    }
    return undefined
  }
}

/**
 * The `user` of OpenAI's API (`safety_identifier` today, `metadata.user_id` in Anthropic's), else the name that the first
 * of the patterns finds in a system message.
 */
const userOf = (outline: BodyOutline, patterns: ReadonlyArray<LinearRegExp>): string | undefined => {
  const named =
    outline.text("user", maxUserChars) ||
    outline.text("safety_identifier", maxUserChars) ||
    outline.userId(maxUserChars)
  if (named) return named.slice(0, maxUserChars)
  let left = maxSearchedChars
  for (const text of patterns.length === 0 ? [] : outline.systemTexts()) {
    if (left <= 0) return undefined
    const part = text.slice(0, left)
    left -= Math.max(part.length, minSearchedChars)
    for (const pattern of patterns) {
      const name = pattern.firstGroup(part)?.trim()
      if (name !== undefined && name !== "") return name
    }
  }
  return undefined
}
