/** A configuration as `weir check` prints it: normalised, every default visible, every secret as `<redacted>`, in addresses too. */
import { Duration, Redacted } from "effect"
import * as Yaml from "yaml"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import { formatDuration } from "../domain/Units.ts"
import { scrub } from "../telemetry/Telemetry.ts"

/** Plain data that can be printed; no secret is in it. */
export const redactConfig = (config: GatewayConfig): unknown => plain(config)

export const printYaml = (config: GatewayConfig): string => Yaml.stringify(plain(config), { lineWidth: 0 })

const plain = (value: unknown): unknown => {
  if (Redacted.isRedacted(value)) return "<redacted>"
  if (typeof value === "string") return scrub(value)
  if (Duration.isDuration(value)) return formatDuration(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}
