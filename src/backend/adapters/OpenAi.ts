import { type Adapter, genericAdapter } from "../Adapter.ts"

/** Any server with OpenAI's API, in the cloud or not. */
export const openAi: Adapter = genericAdapter
