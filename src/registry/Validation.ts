/** Whether an edited configuration can be used: the loader's rules, and its words. */
import { Redacted, Result } from "effect"
import { digestOfKey, digestOfSecret } from "../domain/ApiKey.ts"
import { checkConfig, settle } from "../domain/ConfigChecks.ts"
import { ConfigInvalid } from "../domain/ConfigInvalid.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import { formatPath } from "../domain/Issue.ts"
import { escapeActing, scrub } from "../telemetry/Telemetry.ts"

/** What `edited` comes to, or every problem with its place. `before` is in force. */
export const validated = (
  before: GatewayConfig,
  edited: GatewayConfig
): Result.Result<GatewayConfig, ConfigInvalid> => {
  const next = settle(edited)
  const issues = checkConfig(next, keepsReusedToken(before, next))
  if (issues.length === 0) return Result.succeed(next)
  const problems = issues.map(({ at, message }) => ({ path: plain(formatPath(at)), message: plain(message) }))
  return Result.fail(new ConfigInvalid({ source: "change", problems }))
}

/** A name that is quoted may be an address with a credential, written in the wrong place. */
const plain = (text: string): string => escapeActing(scrub(text))

/** The token that is the key `default` on purpose (WEIR_API_KEY) may stay so; no edit can make it one. */
const keepsReusedToken = (before: GatewayConfig, next: GatewayConfig): boolean => {
  const token = tokenOf(before)
  if (token === undefined || token !== tokenOf(next)) return false
  const digest = digestOfSecret(token)
  return before.keys.some((key) => key.name === "default" && digestOfKey(key) === digest)
}

const tokenOf = ({ admin }: GatewayConfig): string | undefined => admin.token && Redacted.value(admin.token)
