/** Origins of browsers and of apps with a web view, as their `Origin` header has them (RFC 6454, 7). */

/**
 * Why an entry of `cors.origins` can never match a header, and what to write instead; `undefined` where it can. What is
 * understood: `*` for every origin, `null`, one origin, and a scheme with `*` for all of its hosts.
 */
export const originProblem = (entry: string): string | undefined => {
  if (entry === "*" || entry === "null") return undefined
  const [, scheme, host] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(entry) ?? []
  if (scheme === undefined || host === undefined) {
    return "expected an origin with its scheme, such as https://app.example, app://notes.example, app://* or *"
  }
  if (host === "*") return undefined
  if (host.includes("*")) return `* stands for a whole host (${scheme}://*) or for every origin: list these one by one`
  if (!isWeb(entry)) {
    return /^[^\s/?#@,\\]*$/.test(host) ? undefined : `expected ${scheme}:// and a host, without path or slash after it`
  }
  const sent = URL.parse(entry)?.origin
  if (sent === undefined) return "expected a host after the scheme, such as https://app.example"
  return sent === entry.toLowerCase() ? undefined : `browsers send ${sent}: write that`
}

/** Whether one of the entries of `cors.origins` is about an origin. Case makes no difference. */
export const listsOrigin = (entries: ReadonlyArray<string>, origin: string): boolean => {
  if (entries.length === 0) return false
  const sent = origin.toLowerCase()
  return entries.some((entry) => {
    const listed = entry.toLowerCase()
    if (listed === "*" || listed === sent) return true
    return listed.endsWith("://*") && isOneOrigin(sent) && sent.startsWith(listed.slice(0, -1))
  })
}

/**
 * Whether an origin is an app's own (`app://`, `tauri://`, `vscode-webview://`, `chrome-extension://`, …) and not the one
 * of a page that a user may happen to visit, which is http, https or `null`.
 */
export const isAppOrigin = (origin: string): boolean => isOneOrigin(origin) && !isWeb(origin)

const isOneOrigin = (origin: string): boolean => /^[a-z][a-z0-9+.-]*:\/\/[^\s,]*$/i.test(origin)

const isWeb = (origin: string): boolean => /^https?:/i.test(origin)
