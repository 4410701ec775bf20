/** Credentials in running text, above all in addresses: found wherever they stand, and replaced. */

const secretKey = /authorization|bearer|api[-_]?key|token|secret|password|cookie|credential/i

/** Whether a text behind this key is a secret. */
export const isSecretName = (key: string): boolean => secretKey.test(key)

const credential = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}/gi
const assignment =
  /((?:authorization|api[-_]?key|token|secret|password)["']?\s*[=:]\s*["']?)(?!(?:bearer|basic)\s)[^\s"'&,;{}[\]]+/gi

/** Names of a query's members that hold a secret there, and may be harmless words elsewhere. */
const secretMember =
  /^(?:code|(?:.*[-_.])?(?:key|sig|signature|hmac|auth|pass|passwd|passphrase|pwd|jwt|sas|sid|session))$/i
const camelMember = /(?:Key|Sig|Signature|Auth|Pass|Pwd)$/
const accessKey = /(?:access|account|private|shared|subscription|signing|function)key/i
const isCount = (name: string, value: string): boolean => /tokens$/i.test(name) && /^\d+$/.test(value)

const isSecretMember = (name: string, value: string): boolean =>
  (isSecretName(name) && !isCount(name, value)) ||
  [secretMember, camelMember, accessKey].some((pattern) => pattern.test(name))

/** One member of a query or a fragment. Neither part holds what begins the next, so that no text is read twice. */
const member = /([?&#;])([^=?&#;\s"'<>]{1,128})=([^&#;\s"'<>]+)/g

/**
 * Credentials that stand in running text: `Bearer …`, `Basic …`, what is assigned to a telling name, and in an address
 * user, password, and the members of its query that name a secret, percent-encoded or not. Linear in the length of the
 * text, which may come from any client.
 */
export const scrub = (text: string): string =>
  // None of them is without one of these, and most texts are names and paths.
  mayHoldOne.test(text) ? replaceAll(text) : text

const mayHoldOne = /[\s=:]/

const replaceAll = (text: string): string => {
  const members = text.includes("=") ? text.replace(member, replaceMember) : text
  return withoutUserinfo(members).replace(credential, "$1 <redacted>").replace(assignment, "$1<redacted>")
}

const replaceMember = (whole: string, mark: string, name: string, value: string): string => {
  // An address in an address: what is encoded is looked at as it will be read.
  const plain = decoded(value)
  const isTelling = isSecretMember(decoded(name), plain) || (plain !== value && scrub(plain) !== plain)
  return isTelling ? `${mark}${name}=<redacted>` : whole
}

const decoded = (text: string): string => {
  if (!text.includes("%")) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** User and password of an address end at the last `@` before its path. */
const userinfo = /:\/\/[^/?#\s]*@/g

/**
 * A password with a `/`, `?` or `#` in it: an address cannot have one, but it is written. What stands where a port would
 * be is none then, and all up to the last `@` of the word is taken for the password. Every repetition is bounded.
 */
const brokenUserinfo = /:\/\/(?!\[)[^/?#\s:@]{0,256}:(?!\d{0,5}[/?#])[^/?#\s@]{0,256}[/?#]\S{0,256}@/g

const withoutUserinfo = (text: string): string =>
  text.includes("@") ? text.replace(userinfo, "://<redacted>@").replace(brokenUserinfo, "://<redacted>@") : text
