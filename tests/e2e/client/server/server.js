// The running server that these tests talk to. Without one they fail: a test that is skipped proves nothing.

import { newId } from "../module.js";

export const serverUrl = process.env.TIDEMARK_URL?.replace(/\/+$/, "");
if (!serverUrl) {
  throw new Error("TIDEMARK_URL is not set: start the server (tidemark serve) and put its address there, as in http://127.0.0.1:8080");
}

/** A space that nobody has used. */
export const newSpace = () => `client-test-${newId()}`;
