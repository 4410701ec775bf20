/** What a client has sent, for as long as it may have to be sent on. */
import type { UpstreamBody } from "../backend/UpstreamTransport.ts"

export interface Payload {
  /** All of it for what is routed by model; else it may come while it is sent on. `undefined`: nothing, or no more. */
  readonly body: UpstreamBody
  /** It is not needed any more. Calling it again is harmless. */
  letGo(): void
}
