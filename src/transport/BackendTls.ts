/** What TLS with one backend needs beyond what this machine trusts anyway. Certificates are verified in any case. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { Option, Result } from "effect"
import type { BackendTls } from "../domain/Backend.ts"
import { lacksDescriptors } from "../telemetry/Shortages.ts"
import { lackOfDescriptors } from "./TransportFailure.ts"
import { UpstreamFailed } from "./UpstreamTransport.ts"

export interface TlsMaterial {
  readonly options: {
    readonly ca?: string
    readonly cert?: string
    readonly key?: string
    /** Asked for, and looked for in the certificate, instead of the name in the address. */
    readonly servername?: string
  }
  /** Differs where anything in the files does: a renewed certificate is another one. */
  readonly fingerprint: string
}

const nothing = Result.succeed<TlsMaterial>({ options: {}, fingerprint: "" })

/** Reads the files, every time it is called. */
export const readTls = (tls: BackendTls | undefined): Result.Result<TlsMaterial, UpstreamFailed> => {
  if (tls === undefined) return nothing
  const texts = Option.all({ ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key) })
  if (Option.isNone(texts)) return Result.fail(lacksDescriptors() ? lackOfDescriptors : unreadable)
  const { ca, cert, key } = texts.value
  const options = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(tls.serverName !== undefined && { servername: tls.serverName })
  }
  const fingerprint = createHash("sha256").update(JSON.stringify(options)).digest("base64")
  return Result.succeed({ options, fingerprint })
}

const unreadable = new UpstreamFailed({ kind: "tls", detail: "a file of its tls cannot be read" })

const readText = Option.liftThrowable((file: string) => readFileSync(file, "utf8"))

const read = (file: string | undefined): Option.Option<string | undefined> =>
  file === undefined ? Option.some(undefined) : readText(file)
