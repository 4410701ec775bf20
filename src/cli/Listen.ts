/** The commonest trouble at a start, in one line. */
import type { HttpServerError } from "effect/http"

export const cannotListen = ({ cause }: HttpServerError.ServeError): string => {
  if (!isListenError(cause)) return "cannot listen"
  const where = cause.port === undefined ? (cause.address ?? "") : `${cause.address ?? ""}:${cause.port}`
  switch (cause.code) {
    case "EADDRINUSE":
      return `cannot listen on ${where}: the port is in use`
    case "EACCES":
      return `cannot listen on ${where}: not permitted`
    case "EADDRNOTAVAIL":
      return `cannot listen on ${where}: this machine has no such address`
    default:
      return `cannot listen on ${where}: ${cause.code ?? cause.message}`
  }
}

type ListenError = NodeJS.ErrnoException & { readonly address?: string; readonly port?: number }

const isListenError = (error: unknown): error is ListenError => error instanceof Error && "code" in error
