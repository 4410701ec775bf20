/** The version of this program, as `--version`, `/health` and traces tell it. Kept equal to package.json by a test. */
export const version = "0.1.0"
