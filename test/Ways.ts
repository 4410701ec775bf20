/** Whether tests take the way without a fiber, as the program does; `WEIR_TEST_FAST_PATH=off` runs them the other way. */
export const takesFastPath = process.env["WEIR_TEST_FAST_PATH"] !== "off"
