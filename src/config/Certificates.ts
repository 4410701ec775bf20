/** The files that a configuration names for TLS: read once before anything starts, so that a wrong one is told at once. */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { Effect, Option, Result } from "effect"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import type { Issue } from "../domain/Issue.ts"
import type { FileTexts } from "./FileText.ts"

type At = Issue["at"]

interface Files {
  readonly at: At
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** Their names. */
export const certificateFiles = ({ backends, listeners }: GatewayConfig): ReadonlyArray<string> =>
  [...listeners, ...backends].flatMap(({ tls }) => Object.values(tls ?? {}).filter((file) => typeof file === "string"))

/** An issue for each file that cannot be read or is not what it should be, and for each key that fits no certificate. */
export const checkCertificates = Effect.fnUntraced(function* (
  { backends, listeners }: GatewayConfig,
  texts: FileTexts
) {
  const named: ReadonlyArray<Files> = [
    ...listeners.map(({ tls }, index) => ({ at: ["listeners", index, "tls"], ...tls })),
    ...backends.map(({ tls }, index) => ({ at: ["backends", index, "tls"], ...tls }))
  ]
  const issues = yield* Effect.forEach(named, (files) => check(files, texts))
  return issues.flat()
})

const check = Effect.fnUntraced(function* ({ at, ca, cert, key }: Files, texts: FileTexts) {
  const issues: Array<Issue> = []
  const look = Effect.fnUntraced(function* <A>(
    member: string,
    file: string | undefined,
    parse: (pem: string) => Result.Result<A, string>
  ) {
    if (file === undefined) return undefined
    const found = Result.flatMap(yield* Effect.result(reading(texts, file)), parse)
    if (Result.isSuccess(found)) return found.success
    issues.push({ at: [...at, member], message: `${file} ${found.failure}` })
    return undefined
  })
  yield* look("ca", ca, certificateIn)
  const certificate = yield* look("cert", cert, certificateIn)
  const privateKey = yield* look("key", key, privateKeyIn)
  if (certificate !== undefined && privateKey !== undefined && !certificate.checkPrivateKey(privateKey)) {
    issues.push({ at: [...at, "key"], message: `${key} is not the key of the certificate in ${cert}` })
  }
  return issues
})

const reading = (texts: FileTexts, file: string): Effect.Effect<string, string> =>
  Effect.mapError(texts.regularText(file), ({ reason }) => reason)

const firstCertificate = Option.liftThrowable((pem: string) => new X509Certificate(pem))

const certificateIn = (pem: string): Result.Result<X509Certificate, string> =>
  Result.fromOption(firstCertificate(pem), () => "holds no certificate in PEM form")

const firstKey = Option.liftThrowable((pem: string) => createPrivateKey(pem))

const privateKeyIn = (pem: string) =>
  pem.includes("ENCRYPTED")
    ? Result.fail("is encrypted: there is nobody to ask for its passphrase")
    : Result.fromOption(firstKey(pem), () => "holds no private key in PEM form")
