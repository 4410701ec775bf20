/** How a listener speaks TLS. */
import type { SecureContextOptions } from "node:tls"

/**
 * Forward secrecy and authenticated encryption only; of TLS 1.2 none that RFC 9113 (appendix A) keeps from HTTP/2. A key
 * that is stolen later opens no conversation of today.
 */
const cipherSuites = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305"
].join(":")

/** A certificate and its key, read and found to belong together. */
export interface Pems {
  readonly cert: string
  readonly key: string
}

/** Everything that a server must be told again with a renewed certificate: what is left out falls back to Node's own. */
export const secureContext = ({ cert, key }: Pems): SecureContextOptions => ({
  cert,
  key,
  ciphers: cipherSuites,
  minVersion: "TLSv1.2"
})
