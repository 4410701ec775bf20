import { type Adapter, genericAdapter, healthFromStatus } from "../Adapter.ts"

/**
 * Huawei Cloud API Gateway in front of an engine. What goes out is signed (`auth: apig`); an API that was not
 * published there is answered with 404 and shows that the gateway itself lives.
 */
export const huaweiApig: Adapter = {
  ...genericAdapter,
  health: ({ status }) => healthFromStatus(status)
}
