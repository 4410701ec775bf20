/**
 * Browsers are no back door. A page that a user happens to visit can send requests to loopback in the user's name, and
 * a DNS name can be rebound to it: so a foreign `Origin` is refused everywhere, and an address on loopback that is open
 * without a key answers only to names of loopback. An app with a web view has an origin of its own, too, but no one
 * visits it by chance: it may ask wherever it has to show a key.
 */
import { OriginNotAllowed } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { isLoopbackHost } from "../domain/Loopback.ts"
import { isAppOrigin, listsOrigin } from "../domain/Origin.ts"
import type { Incoming } from "./Incoming.ts"

/** `open`: whether the address asks for neither key nor token. */
export const refuseBrowser = (incoming: Incoming, listener: Listener, open: boolean): OriginNotAllowed | undefined => {
  const { header } = incoming
  const asked = header("host") ?? header(":authority")
  if (open && isLoopbackHost(listener.host) && asked !== undefined && !isLoopbackHost(hostName(asked))) {
    return new OriginNotAllowed({ message: "This address answers only to names of this machine." })
  }
  const origin = header("origin")
  if (origin === undefined || isOwn(origin, asked, listener) || listsOrigin(listener.cors.origins, origin)) {
    return undefined
  }
  if (!isAppOrigin(origin)) {
    return new OriginNotAllowed({
      message:
        "Pages from this origin may not use this gateway. If they are to, list it in cors.origins of the listener."
    })
  }
  return open
    ? new OriginNotAllowed({
        message:
          "An app from this origin may use this gateway only with a key, and none is asked for here. List the origin in cors.origins of the listener, or configure keys."
      })
    : undefined
}

/** Whether a request comes from an app whose origin is not listed, and which so must show a key, whatever it asks. */
export const isForeignApp = ({ header }: Incoming, { cors }: Listener): boolean => {
  const origin = header("origin")
  return origin !== undefined && isAppOrigin(origin) && !listsOrigin(cors.origins, origin)
}

const isOwn = (origin: string, asked: string | undefined, { tls }: Listener): boolean =>
  asked !== undefined && origin.toLowerCase() === `${tls === undefined ? "http" : "https"}://${asked}`.toLowerCase()

/** Without the port; what has another form than a name and a port is left as it is, and names no machine. */
const hostName = (host: string): string => /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host)?.[1] ?? host

/**
 * What a browser must be told so that it lets a page of an allowed origin read the answer, or an app one where a key or
 * a token is asked for.
 */
export const corsHeaders = ({ header }: Incoming, { cors }: Listener, open: boolean): Record<string, string> => {
  const origin = header("origin")
  if (origin === undefined) return {}
  if (!listsOrigin(cors.origins, origin) && (open || !isAppOrigin(origin))) return {}
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
