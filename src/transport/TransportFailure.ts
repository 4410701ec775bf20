/** What went wrong on a connection, by the code that Node and undici give it. */
import { isShortage } from "../domain/Shortage.ts"
import { lacksDescriptors } from "../telemetry/Shortages.ts"
import { type ExchangeFailed, RequestBodyFailed, UpstreamFailed } from "./UpstreamTransport.ts"

const connectCodes = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  // A proxy that cannot be reached, that is not trusted, or that will not open a tunnel.
  "UND_ERR_PRX_CONN",
  "UND_ERR_PRX_TLS",
  "UND_ERR_ABORTED"
])

const protocolCodes = new Set([
  "UND_ERR_HEADERS_OVERFLOW",
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_RES_EXCEEDED_MAX_SIZE",
  "UND_ERR_INVALID_ARG",
  "UND_ERR_NOT_SUPPORTED",
  // The name of an error of undici's parser that mostly comes without a code.
  "HTTPParserError"
])

/** Never fails: what is not known is a broken connection. */
/** The same for an exchange, whose request may have failed by its own body. */
export const toExchangeFailed = (error: unknown): ExchangeFailed =>
  error instanceof RequestBodyFailed ? error : toUpstreamFailed(error)

export const toUpstreamFailed = (error: unknown): UpstreamFailed => {
  if (error instanceof UpstreamFailed) return error
  const { code, syscall } = rootOf(error)
  const detail = code === "" ? (error instanceof Error ? error.name : "unknown") : code
  // Resolvers that can open no socket say that a name is not known, or that they may know it later.
  if (syscall === "getaddrinfo" && !isShortage(code, syscall) && lacksDescriptors()) return lackOfDescriptors
  return new UpstreamFailed({ kind: kindOf(detail, syscall), detail })
}

export const lackOfDescriptors = new UpstreamFailed({ kind: "local", detail: "EMFILE" })

const kindOf = (code: string, syscall: string): UpstreamFailed["kind"] => {
  if (isShortage(code, syscall)) return "local"
  // The same codes on a connection that is there mean that it broke, with a request that may have arrived.
  if (connectCodes.has(code)) return syscall === "read" || syscall === "write" ? "reset" : "connect"
  if (code.startsWith("HPE_") || protocolCodes.has(code)) return "protocol"
  const tls = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH)/
  return tls.test(code) ? "tls" : "reset"
}

interface Root {
  readonly code: string
  readonly syscall: string
  readonly address: string
}

const nothing: Root = { code: "", syscall: "", address: "" }

/** Several addresses of one name that all fail come as one error around many. */
const rootOf = (error: unknown, depth = 0): Root => {
  if (typeof error !== "object" || error === null || depth > 8) return nothing
  if (error instanceof AggregateError) {
    const roots = error.errors.map((each) => rootOf(each, depth + 1))
    const [first = nothing] = roots
    // One that could not be tried for our own want says nothing of the backend, whatever came of the others.
    const own = roots.find((root) => isOwn(root) && !lacksFamily(root))
    if (own !== undefined) return own
    if (roots.some(lacksFamily)) return roots.find((root) => !lacksFamily(root)) ?? first
    if (!("code" in error)) return first
  }
  if ("code" in error && typeof error.code === "string") {
    // A proxy's agent says the like around the error of its connection.
    const inner = error instanceof Error ? rootOf(error.cause, depth + 1) : nothing
    if (isOwn(inner)) return inner
    const syscall = textOf(error, "syscall")
    // A resolver that can open none of its sources, such as the file of hosts: others may have given theirs back since.
    const starved = syscall === "getaddrinfo" && error.code === "EBUSY"
    return { code: starved ? "EMFILE" : error.code, syscall, address: textOf(error, "address") }
  }
  return error instanceof Error && error.cause !== undefined ? rootOf(error.cause, depth + 1) : nothing
}

const isOwn = ({ code, syscall }: Root): boolean => isShortage(code, syscall)

/** A machine without IPv6 has no address to connect from: that lasts, and the other addresses tell of the backend. */
const lacksFamily = ({ address, code }: Root): boolean => code === "EADDRNOTAVAIL" && address.includes(":")

const textOf = (error: object, key: "address" | "syscall"): string => {
  const value: unknown = Reflect.get(error, key)
  return typeof value === "string" ? value : ""
}
