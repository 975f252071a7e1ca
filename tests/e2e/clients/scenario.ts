// What the clients in TypeScript are started with, and how they say what came of it. Clients in other languages read the
// same variables and print the same lines: "ok NAME" or "failed NAME: why".

const variable = (name: string) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: clients are started by clients.test.mjs`);
  return value;
};

/** The server, a token for alice, and a space that nobody else uses. */
export const url = variable("TIDEMARK_URL");
export const token = variable("TIDEMARK_TOKEN");
export const space = variable("TIDEMARK_SPACE");

/** A version that no space has reached: asked for as `min_version` it is of a history that the server does not have. */
export const neverReached = Number.MAX_SAFE_INTEGER;

/** Runs one scenario and prints a line. The next one runs whatever becomes of it. */
export async function scenario(name: string, run: () => Promise<void>) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`failed ${name}: ${String(error).replaceAll("\n", " ")}`);
  }
}
