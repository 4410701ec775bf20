/** Bodies that are written by an effect. */
import type { StreamBody } from "../../src/proxy/Proxy.ts"

export const bodyOf = (pipe: StreamBody["pipe"]): StreamBody => ({ pipe, pipeTo: undefined, letGo: () => {} })
