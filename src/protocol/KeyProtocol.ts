/**
 * A key among the subprotocols of a WebSocket: a browser's page can set no header of its upgrade but this one, so OpenAI's
 * SDK sends `Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.KEY`.
 */

const prefix = "openai-insecure-api-key."

const isKey = (protocol: string): boolean => protocol.toLowerCase().startsWith(prefix)

const listOf = (protocols: string): ReadonlyArray<string> => protocols.split(",").map((protocol) => protocol.trim())

/** The first one; `undefined` where there is none. */
export const keyInProtocols = (protocols: string | undefined): string | undefined => {
  const found = protocols === undefined ? undefined : listOf(protocols).find(isKey)
  return found?.slice(prefix.length)
}

/** The same list without any key; empty where nothing else is in it. */
export const withoutKeys = (protocols: string): string =>
  listOf(protocols)
    .filter((protocol) => protocol !== "" && !isKey(protocol))
    .join(", ")
