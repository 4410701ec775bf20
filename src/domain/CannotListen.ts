/** Why an address cannot be listened on, in one line for a person. */

/** `cause`: what the server's socket failed with. */
export const cannotListen = (cause: unknown): string => {
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

/** Whether another process has the port. */
export const isTaken = (cause: unknown): boolean => isListenError(cause) && cause.code === "EADDRINUSE"

type ListenError = NodeJS.ErrnoException & { readonly address?: string; readonly port?: number }

const isListenError = (error: unknown): error is ListenError => error instanceof Error && "code" in error
