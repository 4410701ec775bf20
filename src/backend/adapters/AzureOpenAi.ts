import { Option } from "effect"
import { azureDeployment, type Backend } from "../../domain/Backend.ts"
import { type Adapter, type AdapterOf, genericAdapter } from "../Adapter.ts"

/**
 * Azure OpenAI, in both of its forms.
 *
 * `https://NAME.openai.azure.com`: its `/openai/v1`, which takes the name of a deployment as the model and needs no
 * version (`?api-version=preview` may be given). What it lists are the models that could be deployed, and not the
 * deployments: so nothing is discovered, and `models` should name them.
 *
 * `https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT?api-version=2024-10-21`: one deployment under a dated
 * version; it serves one model, that of its name.
 *
 * The token of `auth: bearer` is the resource's key and goes in `api-key`; a token of Entra ID is configured as
 * `{ type: header, name: Authorization, value: Bearer … }`. Paths outside `/v1` go to the resource as they are.
 */
export const azureOpenAi: AdapterOf = (backend) => {
  const name = deploymentOf(backend)
  return name === undefined ? wholeResource : oneDeployment(name)
}

const wholeResource: Adapter = {
  ...genericAdapter,
  apiPath: (path) => (path === "" || path === "/openai" ? "/openai/v1" : path),
  rootPath: (path) => path.replace(/\/openai(\/.*)?$/, ""),
  keyHeader: "api-key",
  modelsPath: undefined,
  models: () => undefined
}

/** The list of models lies outside the deployment, and shows that the resource lives and that the key is right. */
const oneDeployment = (name: string): Adapter => ({
  ...wholeResource,
  healthPath: "/openai/models",
  modelsPath: "/openai/models",
  models: () => [{ id: name, created: 0, ownedBy: "azure" }]
})

const deploymentOf = ({ url }: Backend): string | undefined => {
  const [, name] = azureDeployment.exec(new URL(url).pathname) ?? []
  return name === undefined ? undefined : Option.getOrElse(decodeName(name), () => name)
}

const decodeName = Option.liftThrowable(decodeURIComponent)
