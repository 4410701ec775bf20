/**
 * What of an answer would tell where a backend is. A reference to the backend itself becomes the path under which a
 * client finds the same here; what points elsewhere is passed on as it came.
 */
import { NetAddress } from "effect/net"
import { parseAddress } from "../domain/Addresses.ts"
import type { Backend } from "../domain/Backend.ts"
import { isLoopbackHost } from "../domain/Loopback.ts"
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"
import { clientPath, ownHostHeaders, type PreparedRequest, target } from "./Outgoing.ts"

/** Headers that hold references, and the form in which they do. */
const forms = {
  location: (value: string, hide: Hide) => hide(value),
  "content-location": (value: string, hide: Hide) => hide(value),
  // Where Azure's long operations are asked for.
  "operation-location": (value: string, hide: Hide) => hide(value),
  "azure-asyncoperation": (value: string, hide: Hide) => hide(value),
  refresh: (value: string, hide: Hide) =>
    value.replace(
      /^(\s*[\d.]+\s*[;,]\s*(?:url\s*=\s*)?)(["']?)(.*)\2$/is,
      (_, before: string, quote: string, to: string) => `${before}${quote}${hide(to)}${quote}`
    ),
  link: (value: string, hide: Hide) => value.replace(/<([^>]*)>/g, (_, to: string) => `<${hide(to)}>`),
  "set-cookie": (value: string, _: Hide, isOwn: (host: string) => boolean) =>
    value.replace(/;\s*domain\s*=\s*\.?([^;]*)/gi, (all, host: string) => (isOwn(host.trim()) ? "" : all))
} as const

type Hide = (reference: string) => string

const names = Object.keys(forms).filter((name): name is keyof typeof forms => name in forms)

/** Whether there is anything to look at: in most answers there is not. */
export const mayTellAddress = (headers: UpstreamHeaders): boolean => names.some((name) => headers[name] !== undefined)

/** A reference that names its host, or that a browser takes for one: `//host` and `\\host` too. */
const namesHost = (reference: string): boolean =>
  // As browsers do: they leave tabs and line ends out wherever they are.
  /^ *(?:[a-z][a-z0-9+.-]*:|[/\\]{2})/i.test(reference.replace(/[\t\n\r]/g, ""))

export class OwnAddress {
  readonly #prepared: PreparedRequest
  readonly #url: URL
  readonly #hosts: ReadonlySet<string>

  constructor(backend: Backend, prepared: PreparedRequest) {
    this.#prepared = prepared
    this.#url = new URL(backend.url)
    const { serverName } = backend.tls ?? {}
    const named = [this.#url.hostname, ...(serverName === undefined ? [] : [serverName]), ...ownHostHeaders(backend)]
    this.#hosts = new Set(named.map(canonicalHost))
  }

  /** The same headers where they tell nothing. `asked`: the client's path, as it sent it. */
  conceal(headers: UpstreamHeaders, asked: string): UpstreamHeaders {
    const base = `${this.#url.origin}${target(this.#prepared, asked, "")}`
    const hide = (reference: string) => this.#hide(reference, base, asked)
    const isOwn = (host: string) => this.#hosts.has(canonicalHost(host))
    const changed: Record<string, string | ReadonlyArray<string>> = {}
    for (const name of names) {
      const value = headers[name]
      if (value === undefined) continue
      const each = (one: string) => forms[name](one, hide, isOwn)
      changed[name] = typeof value === "string" ? each(value) : value.map(each)
    }
    return { ...headers, ...changed }
  }

  /** Whether a text names the backend. */
  isNamedIn(text: string): boolean {
    const lower = text.toLowerCase()
    return [...this.#hosts].some((host) => lower.includes(host))
  }

  #hide(reference: string, base: string, asked: string): string {
    if (reference.trim() === "") return reference
    const url = URL.parse(reference, base)
    // What no browser can follow either is kept only where it tells nothing.
    if (url === null) return this.isNamedIn(reference) ? "/" : reference
    if (!/^(?:https?|wss?):$/.test(url.protocol) || !this.#isSelf(url)) return reference
    const path = clientPath(this.#prepared, url.pathname, asked)
    if (!namesHost(reference) && path === url.pathname) return reference
    // With two slashes at its beginning a path would name a host.
    return `${path.replace(/^\/(?=\/)/, "/.")}${this.#withoutOrigin(url.search)}${url.hash}`
  }

  /** By any scheme, and without a port: an engine behind something else often knows neither. */
  #isSelf(url: URL): boolean {
    const host = canonicalHost(url.hostname)
    return (this.#hosts.has(host) || this.#isOtherName(host)) && (url.port === "" || portOf(url) === portOf(this.#url))
  }

  /** What an engine on this machine calls itself, and one that listens everywhere. */
  #isOtherName(host: string): boolean {
    if (host === "0.0.0.0" || host === "::") return true
    return isLoopbackHost(this.#url.hostname) && isLoopbackHost(host)
  }

  /** A page to return to, as logins have it. */
  #withoutOrigin(search: string): string {
    const { origin } = this.#url
    return search.replaceAll(origin, "").replaceAll(encodeURIComponent(origin), "")
  }
}

const portOf = ({ port, protocol }: URL): string => port || (/^(?:https|wss):$/.test(protocol) ? "443" : "80")

/** One spelling of a host: without brackets and final dots; an address as it is written shortest. */
const canonicalHost = (host: string): string => {
  const bare = host
    .replace(/^\[|\]$/g, "")
    .replace(/\.+$/, "")
    .toLowerCase()
  const address = parseAddress(bare)
  return address === undefined ? bare : NetAddress.formatIp(address)
}
