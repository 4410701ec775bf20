/** What went wrong on a connection, by the code that Node and undici give it. */
import { UpstreamFailed } from "./UpstreamTransport.ts"

const connectCodes = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "EADDRNOTAVAIL",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_PRX_TLS"
])

const protocolCodes = new Set([
  "UND_ERR_HEADERS_OVERFLOW",
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_RES_EXCEEDED_MAX_SIZE",
  "UND_ERR_INVALID_ARG",
  "UND_ERR_NOT_SUPPORTED"
])

/** Never fails: what is not known is a broken connection. */
export const toUpstreamFailed = (error: unknown): UpstreamFailed => {
  if (error instanceof UpstreamFailed) return error
  const code = codeOf(error)
  const detail = code === "" ? (error instanceof Error ? error.name : "unknown") : code
  return new UpstreamFailed({ kind: kindOf(code), detail })
}

const kindOf = (code: string): UpstreamFailed["kind"] => {
  if (connectCodes.has(code)) return "connect"
  if (code.startsWith("HPE_") || protocolCodes.has(code)) return "protocol"
  const tls = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH)/
  return tls.test(code) ? "tls" : "reset"
}

/** Several addresses of one name that all fail come as one error around many. */
const codeOf = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return ""
  if ("code" in error && typeof error.code === "string") return error.code
  if (error instanceof AggregateError) return codeOf(error.errors[0])
  return error instanceof Error && error.cause !== undefined ? codeOf(error.cause) : ""
}
