/** The headers of a backend's answer: names in lower case, several values where one name came several times. */
export type UpstreamHeaders = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
