/** Admin tokens that guard nothing: blank ones, ones that no request can carry, and ones that clients have. */
import { Redacted } from "effect"
import { digestOfKey, digestOfSecret } from "./ApiKey.ts"
import type { GatewayConfig } from "./GatewayConfig.ts"
import type { Issue } from "./Issue.ts"

/** `isReused`: the token is WEIR_API_KEY, which opens both surfaces on purpose where no other token is given. */
export const checkAdminToken = ({ admin, keys }: GatewayConfig, isReused: boolean): ReadonlyArray<Issue> => {
  if (admin.token === undefined) return []
  const token = Redacted.value(admin.token)
  const problem = problemOfForm(token) ?? problemOfOwner(token, keys, isReused)
  return problem === undefined ? [] : [{ at: ["admin", "token"], message: problem }]
}

const problemOfForm = (token: string): string | undefined => {
  if (token.trim() === "") return "is blank: give a token that is hard to guess, or leave it out"
  if (token.trim() !== token) return "begins or ends with a blank or a line break, which no request can carry"
  return /\p{Cc}/u.test(token) ? "has a control character or a line break in it, which no request can carry" : undefined
}

const problemOfOwner = (token: string, keys: GatewayConfig["keys"], isReused: boolean): string | undefined => {
  const digest = digestOfSecret(token)
  const same = keys.find((key) => digestOfKey(key) === digest && !(isReused && key.name === "default"))
  return same === undefined
    ? undefined
    : `is the same as the key ${same.name}, whose holder would be an administrator: give the admin a token of its own`
}
