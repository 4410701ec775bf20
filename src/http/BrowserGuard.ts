/**
 * Browsers are no back door. A page that a user happens to visit can send requests to loopback in the user's name, and
 * a DNS name can be rebound to it: so a foreign `Origin` is refused everywhere, and a surface on loopback that is open
 * without a key answers only to names of loopback.
 */
import { OriginNotAllowed } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { isLoopbackHost } from "../domain/Loopback.ts"
import type { Incoming } from "./Incoming.ts"

/** `open`: whether the surface asks for neither key nor token. */
export const refuseBrowser = (
  { header }: Incoming,
  { cors, host, tls }: Listener,
  open: boolean
): OriginNotAllowed | undefined => {
  const asked = header("host") ?? header(":authority")
  if (open && isLoopbackHost(host) && asked !== undefined && !isLoopbackHost(hostName(asked))) {
    return new OriginNotAllowed({ message: "This address answers only to names of this machine." })
  }
  const origin = header("origin")
  if (origin === undefined) return undefined
  const own = asked === undefined ? undefined : `${tls === undefined ? "http" : "https"}://${asked}`.toLowerCase()
  const allowed = origin.toLowerCase() === own || cors.origins.includes(origin) || cors.origins.includes("*")
  return allowed ? undefined : new OriginNotAllowed({ message: "Pages from this origin may not use this gateway." })
}

/** Without the port; what has another form than a name and a port is left as it is, and names no machine. */
const hostName = (host: string): string => /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host)?.[1] ?? host

/** What a browser must be told so that it lets a page of an allowed origin read the answer. */
export const corsHeaders = ({ header }: Incoming, { cors }: Listener): Record<string, string> => {
  const origin = header("origin")
  if (origin === undefined || !(cors.origins.includes(origin) || cors.origins.includes("*"))) return {}
  return {
    "access-control-allow-origin": origin,
    "access-control-expose-headers":
      "x-request-id, x-routed-node, x-weir-attempts, x-weir-sticky, server-timing, retry-after",
    vary: "Origin"
  }
}

/** The answer to a preflight request, beyond {@link corsHeaders}. */
export const preflightHeaders = ({ header }: Incoming): Record<string, string> => ({
  "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
  "access-control-allow-headers": header("access-control-request-headers") ?? "authorization, content-type",
  "access-control-max-age": "600"
})

export const isPreflight = ({ header, method }: Incoming): boolean =>
  method === "OPTIONS" && header("origin") !== undefined && header("access-control-request-method") !== undefined
